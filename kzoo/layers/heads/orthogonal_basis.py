"""A change of basis that keeps lengths and angles (BT^2)."""

import keras
from keras import ops

from kzoo.layers.configured import Configured
from kzoo.types import Tensor

HALVINGS, TERMS = 6, 8  # of the matrix exponential: exact to float32 up to a norm of 64, ten full turns


@keras.saving.register_keras_serializable(package="kzoo")
class OrthogonalBasis(Configured, keras.layers.Layer):
    """Features in a learned orthonormal basis, of which the first coordinates can be those of an old model.

    `y = x R` with `R = exp(A - A^T)`, which is orthogonal whatever the weights `A` are: nothing of `x` is lost or
    stretched. It starts as the identity.

    Args:
        old_dim: channels of the old model, which are given apart; None: none are.
        dim: channels of the basis; `x` is filled up with zeros to them. Default those of `x`.

    Inputs:
        float tensor `(batch, width)`.

    Returns:
        float32 tensor `(batch, dim)`; with `old_dim` a tuple of it and its first channels `(batch, old_dim)`.

    Raises:
        ValueError: a `dim` below the channels of `x`, an `old_dim` above those of the basis.

    Example:
        >>> head = Head(OrthogonalBasis(old_dim=128), reads="image_features", gives=("basis_features", "old_part"))
        >>> loss = BackwardCompatibleBasis(inputs=("basis_features", "old_part"))

    Reference:
        Zhou et al., BT^2: Backward-compatible Training with Basis Transformation, 2022, arXiv 2211.03989.
    """

    def __init__(self, old_dim=None, dim=None, **kwargs):
        super().__init__(**(kwargs | {"dtype": "float32"}))
        self.old_dim, self.dim = old_dim, dim

    def build(self, x_shape) -> None:
        width = x_shape[-1]
        size = self.dim or width
        if size < width:
            raise ValueError(f"dim is {size}, but the features have {width} channels; a basis has at least as many.")
        if self.old_dim is not None and self.old_dim > size:
            raise ValueError(f"old_dim is {self.old_dim}, but the basis has {size} channels; give a larger dim.")
        self.generator = self.add_weight(name="generator", shape=(size, size), initializer="zeros")

    def compute_output_shape(self, x_shape) -> tuple:
        whole = (*x_shape[:-1], self.dim or x_shape[-1])
        return whole if self.old_dim is None else (whole, (*x_shape[:-1], self.old_dim))

    @property
    def matrix(self) -> Tensor:
        """`R`, float32 `(dim, dim)`."""
        # matmuls only: no solver, which exporters and half of the accelerators lack
        generator = ops.convert_to_tensor(self.generator)
        identity = ops.eye(generator.shape[0], dtype="float32")
        small = (generator - ops.transpose(generator)) / 2.0**HALVINGS
        series = identity
        for term in range(TERMS, 1, -1):
            series = identity + ops.matmul(small, series) / term
        apart = ops.matmul(small, series)  # R - I, which keeps its digits where it is small
        for _ in range(HALVINGS):
            apart = 2.0 * apart + ops.matmul(apart, apart)
        return identity + apart

    # -- forward --
    def call(self, x) -> Tensor | tuple:
        matrix = self.matrix
        y = ops.matmul(x, matrix[: x.shape[-1]])  # the rows of the zeros that fill `x` up
        return y if self.old_dim is None else (y, y[..., : self.old_dim])
