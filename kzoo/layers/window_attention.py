"""Attention within windows of a feature map, and the blocks of Swin transformers around it."""

from functools import cache

import keras
import numpy as np
from keras import ops

from kzoo.arguments import AMOUNT, COUNT, one_of, sequence
from kzoo.layers.attention import BIASES
from kzoo.layers.configured import Configured
from kzoo.layers.initializers import Normal
from kzoo.layers.linear import dense
from kzoo.layers.numerics import activation_function, embed, layer_norm
from kzoo.types import Tensor

STDDEV = 0.02  # that all kernels and tables start from
APART = -100.0  # added to the score of two positions that are no neighbours: checkpoints were trained with this number
WINDOW = sequence(COUNT, "(rows, columns) of a window", 2, 2)
SHIFT = sequence(AMOUNT, "(rows, columns) by which windows are shifted", 2, 2)


def fitted_window(grid, window_size, shifted=False) -> tuple:
    """The window and shift of a map, axis by axis: a map that one window spans has that window, and no shift.

    Args:
        grid: rows and columns of the map.
        window_size: side of a window.
        shifted: whether the windows are shifted by half their side.

    Returns:
        `((rows, columns), (rows, columns))`: of the window, and of the shift.

    Example:
        >>> fitted_window((14, 5), 7, shifted=True)
        ((7, 5), (3, 0))
    """
    window = tuple(min(side, window_size) for side in grid)
    return window, tuple(window_size // 2 if shifted and side > window_size else 0 for side in grid)


@keras.saving.register_keras_serializable(package="kzoo")
class WindowAttention(Configured, keras.layers.Layer):
    """Multi-head attention within windows, `softmax(q k^T / sqrt(d) + B) v`, with a learned bias `B` for each distance.

    The map is shifted, filled up with zeros to whole windows, cut into them, and put together again. Where it is
    shifted, a window holds positions of two edges of the map, which do not see each other.

    Args:
        width: channels of the map.
        num_heads: attention heads.
        window: rows and columns of a window.
        shift: rows and columns by which the windows are shifted.
        head_width: channels per head; default `width // num_heads`.
        bias: which projections have one: `"all"`, `"query_value"` (all but the key), `"out"` or `"none"`.

    Inputs:
        float tensor `(batch, rows, columns, width)`.

    Returns:
        float tensor of the same shape.

    Raises:
        ValueError: `num_heads` does not divide `width`, where no `head_width` is given; a shift beyond the window.

    Example:
        >>> WindowAttention(width=32, num_heads=4, window=(7, 7), shift=(3, 3))(np.zeros((2, 14, 20, 32))).shape
        (2, 14, 20, 32)

    Reference:
        Liu et al., Swin Transformer, 2021, arXiv 2103.14030.
    """

    arguments = {"window": WINDOW, "shift": SHIFT, "bias": one_of(*BIASES)}

    def __init__(self, width, num_heads, window, shift=(0, 0), head_width=None, bias="all", **kwargs):
        super().__init__(**kwargs)
        if head_width is None and width % num_heads:
            raise ValueError(f"num_heads={num_heads} does not divide width={width}; choose a divisor, or a head_width.")
        self.num_heads, self.head_width = num_heads, head_width or width // num_heads
        self.window, self.shift = tuple(window), tuple(shift)
        if any(shift >= side for side, shift in zip(self.window, self.shift)):
            raise ValueError(f"shift={self.shift} is not within window={self.window}; choose a smaller one.")
        inner = self.num_heads * self.head_width

        def projection(name, units=inner):
            return dense(units, STDDEV, self.dtype_policy, name, name in BIASES[bias])

        # -- layers --
        self.query, self.key, self.value = (projection(name) for name in ("query", "key", "value"))
        self.out = projection("out", width)

    def build(self, x_shape) -> None:
        for layer in (self.query, self.key, self.value):
            layer.build(x_shape)
        self.out.build((*x_shape[:-1], self.num_heads * self.head_width))
        distances = (2 * self.window[0] - 1) * (2 * self.window[1] - 1)
        self.position_bias = self.add_weight(
            name="position_bias",
            shape=(distances, self.num_heads),
            initializer=Normal(stddev=STDDEV),
            autocast=False,  # it is added to scores in float32
        )

    # -- forward --
    def call(self, x) -> Tensor:
        rows, columns = x.shape[1:3]
        fill = tuple(-side % window for side, window in zip((rows, columns), self.window))
        grid = (rows + fill[0], columns + fill[1])
        x = _rolled(x, self.shift)
        if any(fill):  # after the shift, as the checkpoints were trained
            x = ops.pad(x, ((0, 0), (0, fill[0]), (0, fill[1]), (0, 0)))
        x = self._attended(self._windows(x, grid), grid)
        x = self._joined(x, grid)[:, :rows, :columns]
        return _rolled(x, tuple(-shift for shift in self.shift))

    def _attended(self, x, grid):
        """Windows `(batch, windows, area, width)`, each to itself."""
        query, key, value = (self._split_heads(layer(x)) for layer in (self.query, self.key, self.value))
        query = ops.transpose(query * self.head_width**-0.5, (0, 1, 3, 2, 4))  # (batch, windows, heads, area, d)
        key = ops.transpose(key, (0, 1, 3, 4, 2))  # (batch, windows, heads, d, area)
        value = ops.transpose(value, (0, 1, 3, 2, 4))
        scores = ops.cast(ops.matmul(query, key), "float32")  # (batch, windows, heads, area, area)
        scores = ops.add(scores, self._bias())
        if any(self.shift):
            scores = ops.add(scores, _apart(grid, self.window, self.shift)[:, None])
        weights = ops.cast(ops.softmax(scores, axis=-1), value.dtype)
        mixed = ops.transpose(ops.matmul(weights, value), (0, 1, 3, 2, 4))  # (batch, windows, area, heads, d)
        return self.out(ops.reshape(mixed, (-1, *mixed.shape[1:3], self.num_heads * self.head_width)))

    def _bias(self):
        """`B` of each head and pair of positions, float32 `(heads, area, area)`."""
        index = _distances(self.window)
        table = embed(self.position_bias, index.reshape(-1))  # (area * area, heads)
        return ops.transpose(ops.reshape(table, (*index.shape, self.num_heads)), (2, 0, 1))

    def _windows(self, x, grid):
        (rows, columns), (height, width), channels = grid, self.window, x.shape[-1]
        x = ops.reshape(x, (-1, rows // height, height, columns // width, width, channels))
        x = ops.transpose(x, (0, 1, 3, 2, 4, 5))  # (batch, rows, columns of windows, height, width, channels)
        return ops.reshape(x, (-1, (rows // height) * (columns // width), height * width, channels))

    def _joined(self, x, grid):
        (rows, columns), (height, width), channels = grid, self.window, x.shape[-1]
        x = ops.reshape(x, (-1, rows // height, columns // width, height, width, channels))
        return ops.reshape(ops.transpose(x, (0, 1, 3, 2, 4, 5)), (-1, rows, columns, channels))

    def _split_heads(self, x):
        return ops.reshape(x, (-1, *x.shape[1:3], self.num_heads, self.head_width))


def _rolled(x, shift):
    """A map moved up and left by `shift`; what leaves it comes in at the other edge."""
    for axis, each in enumerate(shift, 1):
        if each:
            before = [slice(None)] * axis
            x = ops.concatenate([x[*before, each:], x[*before, :each]], axis=axis)
    return x


@cache
def _distances(window):
    """The row of the table of biases for each pair of positions of a window, int32 `(area, area)`."""
    places = np.indices(window).reshape(2, -1)
    rows, columns = (side[:, None] - side[None, :] + length - 1 for side, length in zip(places, window))
    return (rows * (2 * window[1] - 1) + columns).astype("int32")


@cache
def _apart(grid, window, shift):
    """What is added to the scores of a shifted map, float32 `(windows, area, area)`: 0, or `APART` across its edges."""
    area = np.zeros(grid, "int32")
    for axis, (length, side, moved) in enumerate(zip(grid, window, shift)):
        place = np.arange(length)
        region = (place >= length - side).astype("int32") + (place >= length - moved) if moved else 0 * place
        area += np.expand_dims(region * 3**axis, 1 - axis)
    area = area.reshape(grid[0] // window[0], window[0], grid[1] // window[1], window[1])
    area = area.transpose(0, 2, 1, 3).reshape(-1, window[0] * window[1])  # (windows, area)
    return np.where(area[:, :, None] == area[:, None, :], 0.0, APART).astype("float32")


@keras.saving.register_keras_serializable(package="kzoo")
class WindowBlock(Configured, keras.layers.Layer):
    """Pre-norm block on a map: `x + attention(norm(x))` within windows, then `x + mlp(norm(x))`.

    Args:
        width: channels.
        num_heads, window, shift, head_width: see `WindowAttention`.
        attention_bias: its `bias`.
        mlp_dim: hidden width of the MLP.
        activation: in the MLP.
        epsilon: of both layer norms.

    Inputs:
        float tensor `(batch, rows, columns, width)`.

    Returns:
        float tensor of the same shape.

    Example:
        >>> WindowBlock(width=32, num_heads=4, window=(7, 7), mlp_dim=64)(np.zeros((2, 14, 14, 32))).shape
        (2, 14, 14, 32)

    Reference:
        Liu et al., Swin Transformer, 2021, arXiv 2103.14030.
    """

    arguments = {"window": WINDOW, "shift": SHIFT, "attention_bias": one_of(*BIASES)}

    def __init__(
        self,
        width,
        num_heads,
        window,
        mlp_dim,
        shift=(0, 0),
        head_width=None,
        attention_bias="all",
        activation="gelu",
        epsilon=1e-5,
        **kwargs,
    ):
        super().__init__(**kwargs)
        policy = self.dtype_policy

        # -- layers --
        self.norm_1 = layer_norm(epsilon, "norm_1")
        self.attention = WindowAttention(
            width, num_heads, window, shift, head_width, attention_bias, dtype=policy, name="attention"
        )
        self.norm_2 = layer_norm(epsilon, "norm_2")
        self.mlp_up = dense(mlp_dim, STDDEV, policy, "mlp_up")
        self.mlp_down = dense(width, STDDEV, policy, "mlp_down")
        self.activation = activation_function(activation)

    def build(self, x_shape) -> None:
        for layer in (self.norm_1, self.attention, self.norm_2, self.mlp_up):
            layer.build(x_shape)
        self.mlp_down.build((*x_shape[:-1], self.mlp_up.units))

    # -- forward --
    def call(self, x) -> Tensor:
        x = x + self.attention(self.norm_1(x))
        return x + self.feed_forward(self.norm_2(x))

    def feed_forward(self, x) -> Tensor:
        """The MLP of `x`, which was normed before: what is added to the stream."""
        return self.mlp_down(self.activation(self.mlp_up(x)))


@keras.saving.register_keras_serializable(package="kzoo")
class PatchMerging(Configured, keras.layers.Layer):
    """Four neighbours of a map become one position: side by side, normed, projected.

    Args:
        width: channels that leave; default twice as many as enter.
        epsilon: of the layer norm.

    Inputs:
        float tensor `(batch, rows, columns, channels)`; an odd side is filled up with zeros.

    Returns:
        float tensor `(batch, (rows + 1) // 2, (columns + 1) // 2, width)`.

    Example:
        >>> PatchMerging()(np.zeros((2, 14, 7, 32))).shape
        (2, 7, 4, 64)

    Reference:
        Liu et al., Swin Transformer, 2021, arXiv 2103.14030.
    """

    def __init__(self, width=None, epsilon=1e-5, **kwargs):
        super().__init__(**kwargs)
        self.width = width

        # -- layers --
        self.norm = layer_norm(epsilon, "norm")

    def build(self, x_shape) -> None:
        channels = x_shape[-1]
        self.norm.build((*x_shape[:-1], 4 * channels))
        self.reduction = dense(self.width or 2 * channels, STDDEV, self.dtype_policy, "reduction", use_bias=False)
        self.reduction.build((*x_shape[:-1], 4 * channels))

    def compute_output_shape(self, x_shape) -> tuple:
        batch, rows, columns, channels = x_shape
        return batch, (rows + 1) // 2, (columns + 1) // 2, self.width or 2 * channels

    # -- forward --
    def call(self, x) -> Tensor:
        _, rows, columns, channels = x.shape
        if rows % 2 or columns % 2:
            x = ops.pad(x, ((0, 0), (0, rows % 2), (0, columns % 2), (0, 0)))
        rows, columns = (rows + 1) // 2, (columns + 1) // 2
        x = ops.reshape(x, (-1, rows, 2, columns, 2, channels))
        x = ops.transpose(x, (0, 1, 3, 4, 2, 5))  # the row is the inner one of the four
        x = ops.reshape(x, (-1, rows, columns, 4 * channels))
        return self.reduction(self.norm(x))
