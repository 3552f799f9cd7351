"""Layers as what they are to a low-rank update: one matrix from what goes in to what comes out.

A matrix multiplies `(..., d_in)` to `(..., d_out)`. That of a convolution has `d_in` for each pixel of its kernel, that
of an `EinsumDense` the axes that it sums over and those that it makes.
"""

import math
from typing import Any

import keras
from keras import ops

from kzoo.layers.flexible_patches import FlexiblePatchEmbedding
from kzoo.layers.patch_embedding import PatchEmbedding
from kzoo.types import Tensor


class Matrix:
    """That of a `Dense` layer; others differ in how they multiply.

    Args:
        layer: built.

    Attributes:
        methods: names of the layer's methods that multiply, and of nothing else.
    """

    methods = ("call", "quantized_call")

    def __init__(self, layer):
        self.layer = layer

    @property
    def stored(self) -> Any:
        """The variable that holds it."""
        return self.layer.kernel

    @property
    def shape(self) -> tuple[int, int]:
        """`(d_in, d_out)`."""
        *inner, outer = self.stored.shape
        return math.prod(inner), outer

    def kernel(self) -> Tensor:
        """The matrix, float tensor `(d_in, d_out)`, without quantisation."""
        if self.layer.quantization_mode is None:
            return ops.reshape(ops.convert_to_tensor(self.stored), self.shape)
        if self.layer.quantization_mode != "int8":
            raise NotImplementedError(
                f"the kernel of {self.layer.path} in {self.layer.quantization_mode} is not to be had in floats; "
                "quantise to int8, or take what needs no kernel: LoRA without decomposed=True, and no merge."
            )
        return ops.cast(self.stored, "float32") / ops.cast(self.layer.kernel_scale, "float32")

    def assign(self, matrix) -> None:
        """Put a matrix `(d_in, d_out)` into the layer."""
        if self.layer.quantization_mode is not None:
            raise ValueError(
                f"{self.layer.path} is quantised, so that its kernel cannot take an adapter; save_to_preset and export "
                "merge it in floats."
            )
        self.stored.assign(ops.cast(self.folded(matrix), self.stored.dtype))

    def folded(self, matrix) -> Tensor:
        """A matrix in the shape in which the layer holds it."""
        return ops.reshape(matrix, self.stored.shape)

    def down(self, x, a) -> Tensor:
        """The product of what goes in and `(d_in, rank)`."""
        return ops.matmul(x, a)

    def up(self, hidden, b) -> Tensor:
        """The product of what `down` gave and `(rank, d_out)`."""
        return ops.matmul(hidden, b)

    def columns(self, x) -> Tensor:
        """Numbers of the columns, `(d_out,)`, as what comes out is multiplied by them."""
        return x

    def unbiased(self, y) -> Tensor:
        """What the layer gave, before its bias."""
        bias = getattr(self.layer, "bias", None)
        return y if bias is None else y - ops.cast(bias, y.dtype)


class PatchMatrix(Matrix):
    """That of an embedding of patches, which projects flat ones and adds the bias itself."""

    methods = ("project",)

    def unbiased(self, y) -> Tensor:
        return y


class ConvolutionMatrix(Matrix):
    """That of a convolution: `down` is one with as many filters as the rank."""

    methods = ("call",)

    def down(self, x, a) -> Tensor:
        layer = self.layer
        a = ops.reshape(ops.convert_to_tensor(a), (*self.stored.shape[:-1], a.shape[-1]))
        return ops.conv(x, a, tuple(layer.strides), layer.padding, layer.data_format, layer.dilation_rate)


class EinsumMatrix(Matrix):
    """That of an `EinsumDense`: from the axes of the kernel that it sums over to the others."""

    def __init__(self, layer):
        super().__init__(layer)
        # axes by letters, those that are left out by "..."
        self.given, self.own, self.made = layer.equation.replace("->", ",").split(",")
        self.summed = [axis for axis in self.own if axis not in self.made]
        self.free = [axis for axis in self.own if axis in self.made]

    @property
    def shape(self) -> tuple[int, int]:
        sides = dict(zip(self.own, self.stored.shape))
        return tuple(math.prod(sides[axis] for axis in axes) for axes in (self.summed, self.free))

    def kernel(self) -> Tensor:
        order = [self.own.index(axis) for axis in (*self.summed, *self.free)]
        return ops.reshape(ops.transpose(ops.convert_to_tensor(self.stored), order), self.shape)

    def folded(self, matrix) -> Tensor:
        sides, axes = dict(zip(self.own, self.stored.shape)), [*self.summed, *self.free]
        x = ops.reshape(matrix, [sides[axis] for axis in axes])
        return ops.transpose(x, [axes.index(axis) for axis in self.own])

    def down(self, x, a) -> Tensor:
        sides, rank = dict(zip(self.own, self.stored.shape)), self.rank_axis()
        a = ops.reshape(ops.convert_to_tensor(a), (*(sides[axis] for axis in self.summed), a.shape[-1]))
        return ops.einsum(f"{self.given},{''.join(self.summed)}{rank}->{self.batch()}{rank}", x, a)

    def up(self, hidden, b) -> Tensor:
        sides, rank = dict(zip(self.own, self.stored.shape)), self.rank_axis()
        b = ops.reshape(ops.convert_to_tensor(b), (b.shape[0], *(sides[axis] for axis in self.free)))
        return ops.einsum(f"{self.batch()}{rank},{rank}{''.join(self.free)}->{self.made}", hidden, b)

    def columns(self, x) -> Tensor:
        sides = dict(zip(self.own, self.stored.shape))
        x = ops.reshape(x, [sides[axis] for axis in self.free])
        order = [self.free.index(axis) for axis in self.made if axis in self.free]
        shape = [sides[axis] if axis in self.free else 1 for axis in self.made.replace("...", "")]
        return ops.reshape(ops.transpose(x, order), shape)

    def batch(self) -> str:
        """The axes that what goes in and what comes out have in common."""
        return "".join(axis for axis in self.made if axis not in self.free)

    def rank_axis(self) -> str:
        return next(axis for axis in "rstuvwxyz" if axis not in self.layer.equation)


KINDS = (
    (keras.layers.EinsumDense, EinsumMatrix),
    (keras.layers.Dense, Matrix),
    ((keras.layers.Conv1D, keras.layers.Conv2D, keras.layers.Conv3D), ConvolutionMatrix),
    ((PatchEmbedding, FlexiblePatchEmbedding), PatchMatrix),
)


def matrix_of(layer) -> Matrix | None:
    """The matrix of a built layer; None where it is not one that an update of low rank could be added to."""
    kind = next((matrix for kinds, matrix in KINDS if isinstance(layer, kinds)), None)
    if kind is None or not layer.built or refusal(layer) is not None:
        return None
    return kind(layer)


def refusal(layer) -> str | None:
    """Why a layer with a kernel has no matrix, as the end of a sentence; None where it has one."""
    if getattr(layer, "stem", None) is not None:
        return "has a stem of layers in place of a kernel"
    if getattr(layer, "activation", None) not in (None, keras.activations.linear):
        return "has its activation within it; make that a layer of its own"
    if getattr(layer, "groups", 1) > 1 or isinstance(layer, keras.layers.DepthwiseConv2D):
        return "is a convolution of groups, whose kernel is no matrix"
    if isinstance(layer, (keras.layers.Conv1D, keras.layers.Conv2D)) and layer.data_format != "channels_last":
        return "has its channels first"
    return None
