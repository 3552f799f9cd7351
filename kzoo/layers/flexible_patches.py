"""Patches of pictures of any shape: one position table for all grids."""

import keras
import numpy as np
from keras import ops

from kzoo.layers.configured import Configured
from kzoo.layers.initializers import Normal
from kzoo.types import Tensor


@keras.saving.register_keras_serializable(package="kzoo")
class FlexiblePatchEmbedding(Configured, keras.layers.Layer):
    """Projects patches and adds positions from a square table that is resampled to the grid of each picture.

    The resampling is bilinear with antialiasing, as matrices made of the grid: nothing is gathered, so pictures of
    all shapes share a batch and a graph.

    Args:
        patch_size: side of a patch in pixels.
        table_size: side of the position table.
        width: channels per token.

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

    def __init__(self, patch_size, table_size, width, **kwargs):
        super().__init__(**kwargs)
        self.patch_size, self.table_size, self.width = patch_size, table_size, width

    def build(self, patches_shape, grid_shape=None, embeddings_shape=None) -> None:
        patch = self.patch_size
        self.kernel = self.add_weight(
            name="kernel", shape=(patch, patch, 3, self.width), initializer=Normal(stddev=(3 * patch**2) ** -0.5)
        )
        self.projection_bias = self.add_weight(name="bias", shape=(self.width,), initializer="zeros")
        self.position_embedding = self.add_weight(
            name="position_embedding",
            shape=(self.table_size**2, self.width),
            initializer=Normal(stddev=self.width**-0.5),
        )

    def call(self, patches, grid, embeddings=None, placed=True) -> Tensor | tuple:
        length, x = patches.shape[1], embeddings
        if x is None:
            x = ops.matmul(patches, ops.reshape(self.kernel, (-1, self.width))) + self.projection_bias
        if not placed:
            return x
        rows, columns = (ops.cast(grid[:, axis : axis + 1], "float32") for axis in (0, 1))  # (batch, 1)
        index = np.arange(length, dtype="float32")[None]  # (1, length)
        mask = ops.less(index, rows * columns)  # (batch, length)
        row = ops.floor(ops.divide(index, columns))
        column = ops.subtract(index, row * columns)
        real = ops.cast(mask, "float32")  # padding takes the position of the first patch
        by_row, by_column = self._weights(row * real, rows), self._weights(column * real, columns)
        weights = ops.expand_dims(by_row, -1) * ops.expand_dims(by_column, -2)  # (batch, length, table, table)
        weights = ops.reshape(weights, (-1, length, self.table_size**2))
        table = ops.cast(ops.convert_to_tensor(self.position_embedding), "float32")
        return x + ops.cast(ops.matmul(weights, table), x.dtype), mask

    def _weights(self, place, size):
        """Of each line of the table for each patch: `(batch, length)` and `(batch, 1)` to `(batch, length, table)`."""
        step = self.table_size / ops.expand_dims(size, -1)  # lines of the table per patch
        centre = (ops.expand_dims(place, -1) + 0.5) * step - 0.5
        lines = np.arange(self.table_size, dtype="float32")
        distance = ops.abs(ops.subtract(centre, lines)) / ops.maximum(step, 1.0)
        weights = ops.maximum(1.0 - distance, 0.0)
        return weights / ops.sum(weights, axis=-1, keepdims=True)
