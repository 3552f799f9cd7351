"""Patches of pictures of any shape: one position table for all grids."""

import keras
import numpy as np
from keras import ops

from kzoo.arguments import one_of
from kzoo.layers.configured import Configured
from kzoo.layers.initializers import Normal
from kzoo.layers.linear import multiplied
from kzoo.layers.patch_embedding import as_size
from kzoo.types import Tensor


def _triangle(distance):
    return ops.maximum(1.0 - distance, 0.0)


def _cubic(distance):
    near = (1.5 * distance - 2.5) * distance**2 + 1.0
    far = ((-0.5 * distance + 2.5) * distance - 4.0) * distance + 2.0
    return ops.where(distance < 1.0, near, ops.where(distance < 2.0, far, 0.0))


FILTERS = {"bilinear": _triangle, "bicubic": _cubic}


@keras.saving.register_keras_serializable(package="kzoo")
class FlexiblePatchEmbedding(Configured, keras.layers.Layer):
    """Projects patches and adds positions from a table that is resampled to the grid of each picture.

    The resampling is antialiased, as matrices made of the grid: nothing is gathered, so pictures of all shapes share a
    batch and a graph.

    Args:
        patch_size: side of a patch in pixels.
        table_size: side of the position table, or its rows and columns.
        width: channels per token.
        bias: of the projection.
        resampling: `"bilinear"`, or `"bicubic"` with the coefficient -0.5.
        square: resample to a square of the longer side of the grid, and take the corner of the grid's size: a patch
            is as far from its neighbour in every picture of one longer side.

    Inputs:
        patches: float tensor `(batch, length, patch_size^2 * 3)`, normalised pixels by row, column and channel.
        grid: int tensor `(batch, 2)`, rows and columns of patches, whose product is at most `length`; patches
            beyond it are padding.
        embeddings: float tensor `(batch, length, width)`, what stands for the projected patches; of these nothing but
            the shape is then read.
        placed: False gives the projected patches, before the positions.

    Returns:
        `(tokens, mask)`: float tensor `(batch, length, width)`; bool tensor `(batch, length)`, True where a patch is
        real.

    Example:
        >>> layer = FlexiblePatchEmbedding(patch_size=4, table_size=4, width=48)
        >>> layer(np.zeros((1, 12, 48)), np.array([[2, 5]]))[0].shape
        (1, 12, 48)

    Reference:
        Tschannen et al., SigLIP 2, 2025, arXiv 2502.14786; Dehghani et al., NaViT, 2023, arXiv 2307.06304.
    """

    arguments = {"resampling": one_of(*FILTERS)}

    def __init__(self, patch_size, table_size, width, bias=True, resampling="bilinear", square=False, **kwargs):
        super().__init__(**kwargs)
        self.patch_size, self.table_size, self.width = patch_size, as_size(table_size), width
        self.bias, self.filter, self.square = bias, FILTERS[resampling], square

    def build(self, patches_shape, grid_shape=None, embeddings_shape=None) -> None:
        patch = self.patch_size
        self.kernel = self.add_weight(
            name="kernel", shape=(patch, patch, 3, self.width), initializer=Normal(stddev=(3 * patch**2) ** -0.5)
        )
        self.projection_bias = None
        if self.bias:
            self.projection_bias = self.add_weight(name="bias", shape=(self.width,), initializer="zeros")
        self.position_embedding = self.add_weight(
            name="position_embedding",
            shape=(self.table_size[0] * self.table_size[1], self.width),
            initializer=Normal(stddev=self.width**-0.5),
        )

    def call(self, patches, grid, embeddings=None, placed=True) -> Tensor | tuple:
        length, x = patches.shape[1], embeddings
        if x is None:
            x = self.project(patches)
            x = x if self.projection_bias is None else x + self.projection_bias
        if not placed:
            return x
        rows, columns = (ops.cast(grid[:, axis : axis + 1], "float32") for axis in (0, 1))  # (batch, 1)
        index = np.arange(length, dtype="float32")[None]  # (1, length)
        mask = ops.less(index, rows * columns)  # (batch, length)
        row = ops.floor(ops.divide(index, columns))
        column = ops.subtract(index, row * columns)
        real = ops.cast(mask, "float32")  # padding takes the position of the first patch
        longer = ops.maximum(rows, columns)
        sizes = (longer, longer) if self.square else (rows, columns)
        by_row, by_column = (
            self._weights(place * real, size, lines)
            for place, size, lines in zip((row, column), sizes, self.table_size)
        )
        weights = ops.expand_dims(by_row, -1) * ops.expand_dims(by_column, -2)  # (batch, length, *table)
        weights = ops.reshape(weights, (-1, length, self.table_size[0] * self.table_size[1]))
        table = ops.cast(ops.convert_to_tensor(self.position_embedding), "float32")
        return x + ops.cast(ops.matmul(weights, table), x.dtype), mask

    def project(self, patches) -> Tensor:
        """The product of flat patches `(..., patch * patch * 3)` and the kernel, before the bias."""
        return multiplied(patches, ops.reshape(self.kernel, (-1, self.width)))

    def _weights(self, place, size, lines):
        """Of each line of the table for each patch: `(batch, length)` and `(batch, 1)` to `(batch, length, lines)`."""
        step = lines / ops.expand_dims(size, -1)  # lines of the table per patch
        centre = (ops.expand_dims(place, -1) + 0.5) * step - 0.5
        distance = ops.abs(ops.subtract(centre, np.arange(lines, dtype="float32"))) / ops.maximum(step, 1.0)
        weights = self.filter(distance)
        return weights / ops.sum(weights, axis=-1, keepdims=True)
