"""Barlow Twins."""

import keras
from keras import ops

from kzoo.losses.base import Loss
from kzoo.losses.parts.redundancy import check_two_rows, cross_correlation, off_diagonal, standardised
from kzoo.types import Tensor


@keras.saving.register_keras_serializable(package="kzoo")
class BarlowTwins(Loss):
    """The correlation of each dimension with itself in the other view should be 1, with every other dimension 0.

    Columns `A`, `B` of the views are standardised over the batch (biased variance, no rows normalised) and
    `C = A^T B / N`: `L = sum_u (C_uu - 1)^2 + lambd sum_(u != v) C_uv^2`.

    Args:
        lambd: weight of what lies off the diagonal.
        inputs: names of the tensors to read; default `("view_1", "view_2")`.

    Inputs:
        a, b: float tensors `(batch, dim)`. A value is one of the whole batch, so there is no `sample_weight`.

    Returns:
        float32 scalar.

    Raises:
        ValueError: a batch of one row.

    Recommendations:
        Wide projections (thousands of dimensions) and batches of a few hundred; there are no negatives. Where columns
        may collapse to a constant `VICReg` pushes their variance up.

    Example:
        >>> a = np.array([[1.0, 1.0], [1.0, -1.0], [-1.0, 1.0], [-1.0, -1.0]])
        >>> BarlowTwins()(a, -a)
        8.0

    Reference:
        Zbontar et al., Barlow Twins, 2021, arXiv 2103.03230.
    """

    default_inputs = ("view_1", "view_2")
    optional_inputs = {}
    shapes = Loss.shapes | {"a": "batch dim", "b": "batch dim"}

    def __init__(self, lambd=0.005, inputs=None, **kwargs):
        super().__init__(inputs=inputs, **kwargs)
        self.lambd = lambd

    def call(self, a, b) -> Tensor:
        check_two_rows(self, a)
        return self.redundancy(standardised(a), standardised(b))

    def redundancy(self, a, b) -> Tensor:
        """The loss of standardised columns."""
        c = cross_correlation(a, b)
        on_diagonal = ops.sum(ops.square(ops.diagonal(c) - 1.0))
        return on_diagonal + self.lambd * ops.sum(ops.square(off_diagonal(c)))
