"""All pairs of a batch, computed whole or a block of rows at a time: the kernel that the pairwise losses share."""

from dataclasses import dataclass
from typing import Any

import keras
from keras import ops

from kzoo.layers.kernels_torch import transformed
from kzoo.layers.numerics import NEGATIVE, log_sum_exp
from kzoo.layers.own_gradient import recomputed
from kzoo.losses.base import Loss
from kzoo.losses.parts import map_tensorflow, map_torch, products
from kzoo.losses.parts.arguments import BLOCK
from kzoo.losses.parts.blocks import AUTO, ROWS, WHOLE, asked, blocks_of, chosen, most_rows
from kzoo.losses.parts.captures import captures_passed
from kzoo.losses.parts.scans import cut
from kzoo.types import Tensor

DIRECTIONS = ("both", "a_to_b", "b_to_a")


class PairwiseLoss(Loss):
    """Base of the losses that compare every row of a batch with many others.

    They say in a function what a block of rows makes of all columns, and leave the rest to `cross_entropies` or
    `by_blocks`.

    Args:
        block_size: rows that are compared at a time. Values and gradients are the same; memory for the pairs grows
            with `block_size * batch` instead of `batch^2`, for one more forward pass. Some hundred rows serve well:
            with few, what the blocks say of the columns, `batch^2 / block_size`, is more. `"auto"` compares all at once
            up to a batch of 4096, and at most 256 rows at a time above it. None: all at once, or attached to a model
            what `compile(loss_block_size=...)` says.
        inputs: names of the tensors to read.

    Raises:
        ValueError: `block_size` is not a positive whole number.
    """

    shapes = Loss.shapes | {"a": "batch dim", "b": "batch dim"}
    arguments = {"block_size": BLOCK}

    def __init__(self, block_size=None, inputs=None, **kwargs):
        super().__init__(inputs=inputs, **kwargs)
        self.block_size = block_size

    def pairs(self, batch_size) -> tuple:
        return batch_size, batch_size


@dataclass(frozen=True)
class Tile:
    """What one block of rows says of all columns; every array is `(rows of the block, columns)`.

    Args:
        logits: `z_ij`. None: `product` of `cross_entropies` says it.
        target: `T_ij`, how much row i should choose column j; a row need not sum to 1. None: `own` says it.
        column_target: `T_ij`, how much column j should choose row i; default `target`.
        keep: bool, whether a pair stands in the denominators; default all do.
        log_weight: added to `z_ij` in the denominators only.
    """

    logits: Any = None
    target: Any = None
    column_target: Any = None
    keep: Any = None
    log_weight: Any = None


def cross_entropies(tile, rows, columns, direction="a_to_b", block_size=None, own=None, each=1, product=None) -> tuple:
    """The softmax cross-entropy `sum_j T_ij (LSE_k z_ik - z_ij)` of every row, of every column, or of both.

    Args:
        tile: function `(i, j, rows, columns)` to a `Tile`: indices of the rows and the columns, int32, and the
            tensors below, those of `rows` cut to the block.
        rows: dict of tensors `(R, ...)`.
        columns: dict of tensors that every block sees whole; the first has one row per column.
        direction: `"a_to_b"`, rows choose among columns; `"b_to_a"`, columns choose among rows; `"both"`.
        block_size, each: as in `by_blocks`.
        own: `(R,)`, the logit of the one column that each row should choose, instead of targets, which would be one
            more number for each pair. As columns choose, column i should choose row i. True: `<x_i, y_i>` of `product`.
        product: names of a tensor of `rows` and one of `columns`, `(R, dim)` and `(C, dim)`, whose product `x y^T` the
            logits are. In blocks that takes less time and memory; what the tile says, and what it reads, has no
            gradient then.

    Returns:
        `(of_rows, of_columns)`: float32 `(R,)` and `(C,)`, with `own` of the first R columns; None where the direction
        was not asked for. Where the denominator is empty it is left out, where the target is empty the value is 0.

    Example:
        >>> def tile(i, j, rows, columns):
        ...     return Tile(columns["scale"] * rows["a"] @ ops.transpose(columns["b"]), target=same(i, j))
        >>> cross_entropies(tile, {"a": a}, {"b": b, "scale": 10.0}, "both", block_size=256)
    """

    def block(i, real, rows, columns):
        j = ops.arange(ops.shape(next(iter(columns.values())))[0], dtype="int32")
        one = tile(i, j, rows, columns)
        logits = one.logits if product is None else _product(rows[product[0]], columns[product[1]])
        z = logits if one.log_weight is None else logits + one.log_weight
        z = z if one.keep is None else ops.where(one.keep, z, NEGATIVE)
        of_rows, of_columns = {}, {}
        if direction != "b_to_a":
            of_rows = {"log_sum": log_sum_exp(z, 1)} | ({} if own is not None else _chosen(logits, one.target, 1))
        if direction != "a_to_b":
            if real is not None:  # rows that fill up the last block are nobody's choice
                z = ops.where(real[:, None], z, NEGATIVE)
            of_columns = {"log_sum": log_sum_exp(z, 0)}
            if own is None:
                target = one.target if one.column_target is None else one.column_target
                target = target if real is None else ops.where(real[:, None], target, 0.0)
                of_columns |= _chosen(logits, target, 0)
        if own is True:
            x, y = rows[product[0]], columns[product[1]]
            of_rows["own"] = ops.sum(x * y[: ops.shape(x)[0]], axis=-1)
        return of_rows, of_columns

    def of_product(rows, columns, block_size):
        return products.softmax_sums(tile, rows, columns, product, direction, own is None, own is True, block_size)

    in_blocks = None if product is None else of_product
    of_rows, of_columns = by_blocks(block, rows, columns, block_size, each, in_blocks)
    found = of_rows.pop("own", own)
    if of_columns:
        log_sum = log_sum_exp(of_columns.pop("log_sum"), 0)
        log_sum = log_sum if found is None else log_sum[: ops.shape(found)[0]]
        of_columns = {"log_sum": log_sum} | {name: ops.sum(value, axis=0) for name, value in of_columns.items()}
    chosen = {} if found is None else {"tz": found, "ts": 1.0}
    return tuple(_cross_entropy(**each, **chosen) if each else None for each in (of_rows, of_columns))


def by_blocks(function, rows, columns, block_size=None, each=1, in_blocks=None) -> tuple:
    """A function of a batch's rows, called with `block_size` rows at a time and called again for the gradient.

    Args:
        function: `(i, real, rows, columns)` to two dicts: values of each row, `(rows of the block, ...)`, and values
            of the block, of one shape each. `i` are the rows' indices, int32; `real` is a bool mask of the rows that
            are not there to fill up the last block, None when all are. A tensor or a trained variable that it
            captures gets its gradient too, but rows of a block must come from `rows`.
        rows: dict of tensors `(R, ...)`, cut into blocks.
        columns: dict of tensors or numbers that each call sees whole; the first tensor has one row per column.
        block_size: None calls the function once, on everything, if `blocks_of` does not say otherwise. `"auto"` does so
            where the scores are few; where their number is only known as the step runs, it is decided then.
        each: numbers that the function makes of one pair, such as the matches of two bags.
        in_blocks: function `(rows, columns, block_size)` to the same two dicts, which is called where the batch is cut,
            in place of `function` of each block; one with a gradient of its own.

    Returns:
        Two dicts: values of the rows `(R, ...)` in their order, and values of the blocks `(blocks, ...)`.

    Raises:
        ValueError: on TensorFlow, a captured float tensor that is hidden in an object.

    Example:
        >>> function = lambda i, real, rows, columns: ({"best": ops.max(rows["a"] @ columns["b"], axis=1)}, {})
        >>> by_blocks(function, {"a": a}, {"b": b}, block_size=256)[0]["best"]
    """
    rows = {name: ops.convert_to_tensor(value) for name, value in rows.items()}
    columns = {name: ops.convert_to_tensor(value) for name, value in columns.items()}
    count = ops.shape(next(iter(rows.values())))[0]
    block_size = asked(block_size)
    if block_size == AUTO:
        others = next((ops.shape(value)[0] for value in columns.values() if len(value.shape) > 0), 1)
        counts = [size if isinstance(size, int) else most_rows() for size in (count, others)]
        if None in counts:
            return _decided_as_it_runs(function, rows, columns, each, in_blocks, (count, others))
        # where devices share the columns, as on jax, each has its own of every block
        all_columns = in_blocks is not None and keras.config.backend() == "jax"
        block_size = chosen(AUTO, counts[0] * counts[1] * each, each, counts[1] if all_columns else None)
    if keras.config.backend() == "torch" and transformed():  # where nothing is computed again for a gradient
        block_size = None
    if block_size is None:
        of_rows, of_blocks = function(ops.arange(count, dtype="int32"), None, rows, columns)
        return of_rows, {name: value[None] for name, value in of_blocks.items()}
    if in_blocks is not None:
        return in_blocks(rows, columns, block_size)

    function, columns, complete = captures_passed(function, rows, columns, block_size)
    blocks = (count + block_size - 1) // block_size
    index = ops.reshape(ops.arange(blocks * block_size, dtype="int32"), (-1, block_size))
    given = [cut(value, block_size) for value in rows.values()]
    names = {}  # of the results, known once the function was called
    full = isinstance(count, int) and count % block_size == 0

    def called(i, *values):
        results = function(
            i, None if full else i < count, dict(zip(rows, values)), dict(zip(columns, values[len(rows) :]))
        )
        names["rows"], names["blocks"] = map(list, results)
        return tuple(value for part in results for value in part.values())

    def of_block(tensors):
        values = [*tensors, *columns.values()]
        trained = [place for place, value in enumerate(values) if _is_float(value)]

        def of_floats(*floats):
            return called(*(dict(enumerate(values)) | dict(zip(trained, floats))).values())

        # whole numbers and masks stay outside, where no gradient is asked of them
        return recomputed(of_floats)(*(values[place] for place in trained))

    if keras.config.backend() == "torch" and complete:
        results = map_torch.mapped(called, (index, *given), columns.values())
    elif keras.config.backend() == "tensorflow":
        results = map_tensorflow.mapped(of_block, (index, *given))
    else:
        results = ops.map(of_block, (index, *given))
    of_rows = [ops.reshape(value, (-1, *ops.shape(value)[2:]))[:count] for value in results[: len(names["rows"])]]
    return dict(zip(names["rows"], of_rows)), dict(zip(names["blocks"], results[len(names["rows"]) :]))


def _decided_as_it_runs(function, rows, columns, each, in_blocks, counts):
    """`by_blocks` of a batch that has no fixed size, as TensorFlow's graphs have it."""
    scores = ops.cast(counts[0], "float32") * ops.cast(counts[1], "float32") * each  # int32 ends at 46,340 rows
    names = {}

    def within(block_size):
        def results():
            with blocks_of(block_size):
                parts = by_blocks(function, rows, columns, in_blocks=in_blocks)
            names["rows"], names["blocks"] = map(list, parts)
            return tuple(value for part in parts for value in part.values())

        return results

    results = ops.cond(scores <= WHOLE, within(None), within(max(1, ROWS // each)))
    return tuple(
        dict(zip(names[part], values))
        for part, values in zip(("rows", "blocks"), (results[: len(names["rows"])], results[len(names["rows"]) :]))
    )


def same(a, b) -> Tensor:
    """`[a_i = b_j]` as float32 `(len(a), len(b))`."""
    return ops.cast(ops.equal(a[:, None], b[None, :]), "float32")


def mean_of_directions(of_rows, of_columns) -> Tensor:
    """What a row says as an anchor and as a partner, averaged over the directions that are there: `(B,)`."""
    there = [value for value in (of_rows, of_columns) if value is not None]
    return sum(there) / len(there)


def _is_float(value):
    return keras.backend.is_float_dtype(keras.backend.standardize_dtype(value.dtype))


def _product(x, y):
    return ops.matmul(x, ops.transpose(y))


def _chosen(logits, target, axis):
    return {"tz": ops.sum(target * logits, axis=axis), "ts": ops.sum(target, axis=axis)}


def _cross_entropy(log_sum, tz, ts):
    return ts * ops.where(log_sum > 0.5 * NEGATIVE, log_sum, 0.0) - tz
