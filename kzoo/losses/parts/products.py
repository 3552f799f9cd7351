"""Losses of all pairs whose scores are one matrix product, a block of rows at a time, with gradients written out.

A block function that is differentiated for each block (`by_blocks`) multiplies as often, but holds and writes several
arrays of the size of a block's scores, and makes the sums of the softmax again. Here what is known of them is used.
"""

from dataclasses import dataclass
from typing import Any

import keras
from keras import ops

from kzoo.layers.numerics import NEGATIVE, l2_normalize, log_sum_exp
from kzoo.types import Tensor


@dataclass(frozen=True)
class Softmax:
    """The sums of a softmax over the rows and the columns of `x y^T`, as `cross_entropies` puts them together.

    Args:
        tile: function `(i, j, rows, columns)` to a `Tile` without logits, of what has no gradient.
        rows, columns: its tensors beside x and y, `(R, ...)` and whole.
        direction: `"both"`, `"a_to_b"` or `"b_to_a"`.
        targets: whether the tile says targets.
        own: whether `<x_i, y_i>` of each row is asked for, too.
    """

    tile: Any
    rows: dict
    columns: dict
    direction: str
    targets: bool
    own: bool

    @property
    def names(self) -> tuple:
        """Names of what is said of each row, and of each column."""
        each = ("log_sum", "tz", "ts") if self.targets else ("log_sum",)
        return tuple(() if self.direction == other else each for other in ("b_to_a", "a_to_b"))

    def values(self, x, y) -> tuple:
        """What is said of the rows, then of the columns, of all scores at once."""
        i, j = (ops.arange(ops.shape(each)[0], dtype="int32") for each in (x, y))
        tile, z = self.tile(i, j, self.rows, self.columns), ops.matmul(x, ops.transpose(y))
        masked = z if tile.log_weight is None else z + tile.log_weight
        masked = masked if tile.keep is None else ops.where(tile.keep, masked, NEGATIVE)
        column_target = tile.target if tile.column_target is None else tile.column_target
        says = []
        for names, axis, target in zip(self.names, (1, 0), (tile.target, column_target)):
            if names:
                says.append(log_sum_exp(masked, axis))
            if "tz" in names:
                says += [ops.sum(target * z, axis=axis), ops.sum(target, axis=axis)]
        return tuple(says)


def softmax_sums(tile, rows, columns, product, direction, targets, own, block_size) -> tuple:
    """What `cross_entropies` asks of a block, for all rows and columns: two dicts, of rows and of one block of columns.

    `log_sum` is LSE z, `tz` and `ts` are the sums of `T z` and of `T`, float32 `(R,)` and `(1, C)`; `own` of the
    rows is `<x_i, y_i>`.

    Args:
        tile, rows, columns, direction: as in `cross_entropies`.
        product: names of x `(R, dim)` among the rows and of y `(C, dim)` among the columns.
        targets: whether the tile says targets.
        own: whether `own` is asked for.
        block_size: rows at a time.
    """
    given, (x, y) = [dict(rows), dict(columns)], (rows[product[0]], columns[product[1]])
    for name, side in zip(product, given):
        del side[name]
    constant = [{name: ops.stop_gradient(value) for name, value in side.items()} for side in given]
    softmax = Softmax(tile, *constant, direction, targets, own)
    values = _kernels().softmax(softmax, x, y, block_size)
    of_rows, of_columns = softmax.names
    columns = dict(zip(of_columns, (each[None] for each in values[len(of_rows) :])))
    return dict(zip(of_rows, values)) | ({"own": values[-1]} if own else {}), columns


def unit_rows(x, scale=None) -> Tensor:
    """`scale * l2_normalize(x)`, of which jax holds x alone for the gradient, and makes the rows again.

    Args:
        x: float tensor `(..., dim)`.
        scale: scalar; None: 1.

    Example:
        >>> unit_rows(np.array([[3.0, 4.0]]), 10.0)
        [[6.0, 8.0]]
    """

    def made(x, *scale):
        return l2_normalize(x) * scale[0] if scale else l2_normalize(x)

    arguments = (x,) if scale is None else (x, scale)
    if keras.config.backend() != "jax":
        return made(*arguments)
    import jax

    return jax.checkpoint(made)(*map(ops.convert_to_tensor, arguments))


def sigmoid_sum(x, y, bias, weight, positives, block_size) -> Tensor:
    """`sum_ij w_ij softplus(-+ (<x_i, y_j> + bias))`, minus where j belongs to i: float32 scalar.

    Where gradients are asked for they are computed beside the value, and the scores only once.

    Args:
        x, y: float32 tensors `(batch, dim)`.
        bias: scalar tensor.
        weight: `(batch,)`, makes `w_ij = (w_i + w_j) / 2`; None: 1.
        positives: bool `(batch, batch)`; None: the diagonal.
        block_size: rows at a time.

    Example:
        >>> sigmoid_sum(np.eye(4), np.eye(4), -10.0, None, None, block_size=2)
        36.0005
    """
    return _kernels().sigmoid(x, y, bias, weight, positives, block_size)


def _kernels():
    if keras.config.backend() == "torch":
        from kzoo.losses.parts import products_torch as kernels
    else:
        from kzoo.losses.parts import products_compiled as kernels
    return kernels
