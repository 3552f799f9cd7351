"""Positions by how far apart two patches are, in place of a table."""

import keras
import numpy as np
from keras import ops

from kzoo.layers.configured import Configured
from kzoo.layers.linear import dense
from kzoo.types import Array, Tensor


def relative_offsets(grid) -> tuple[Array, Array]:
    """How far apart the patches of a grid are, on a logarithmic scale.

    Args:
        grid: `(rows, columns)`.

    Returns:
        `(offsets, places)`: float32 `(distances, 2)`, `sign(d) log(1 + |d|)` of rows and columns for each distance that
        there is; int32 `(patches, patches)`, which of them is that from each key to each query.
    """
    distances = [np.arange(1 - side, side) for side in grid]
    offsets = np.stack(np.meshgrid(*distances, indexing="ij"), axis=-1).reshape(-1, 2)
    row, column = np.divmod(np.arange(grid[0] * grid[1]), grid[1])
    of_rows = row[:, None] - row + grid[0] - 1  # from a key, on the second axis, to a query
    of_columns = column[:, None] - column + grid[1] - 1
    places = of_rows * len(distances[1]) + of_columns
    return (np.sign(offsets) * np.log1p(np.abs(offsets))).astype("float32"), places.astype("int32")


@keras.saving.register_keras_serializable(package="kzoo")
class RelativePositions(Configured, keras.layers.Layer):
    """A bias of attention for each pair of patches, by an MLP of how far apart they are.

    Args:
        num_heads: attention heads.
        hidden_dim: hidden width of the MLP.
        prefix_tokens: tokens in front that are no patches; pairs with them have no bias.

    Inputs:
        offsets, places: constants of the grid, as `relative_offsets` gives them.

    Returns:
        float tensor `(num_heads, prefix_tokens + patches, prefix_tokens + patches)`, queries first.

    Example:
        >>> RelativePositions(num_heads=4, hidden_dim=16)(*relative_offsets((2, 3))).shape
        (4, 6, 6)

    Reference:
        Liu et al., Swin Transformer V2, 2021, arXiv 2111.09883.
    """

    def __init__(self, num_heads, hidden_dim, prefix_tokens=0, **kwargs):
        super().__init__(**kwargs)
        self.num_heads, self.prefix_tokens = num_heads, prefix_tokens
        policy = self.dtype_policy

        # -- layers --
        self.mlp_up = dense(hidden_dim, 0.5, policy, "mlp_up")
        self.mlp_down = dense(num_heads, 0.02, policy, "mlp_down")

    def build(self, offsets_shape, places_shape=None) -> None:
        self.mlp_up.build((None, 2))
        self.mlp_down.build((None, self.mlp_up.units))

    # -- forward --
    def call(self, offsets, places) -> Tensor:
        bias = self.mlp_down(ops.relu(self.mlp_up(offsets)))  # (distances, num_heads)
        length = places.shape[0]
        bias = ops.take(bias, ops.reshape(places, (length * length,)), axis=0)  # (patches * patches, num_heads)
        bias = ops.transpose(ops.reshape(bias, (length, length, self.num_heads)), (2, 0, 1))
        front = (self.prefix_tokens, 0)
        return ops.pad(bias, ((0, 0), front, front)) if self.prefix_tokens else bias
