"""Metrics."""

import keras
from keras import ops

from kzoo.layers.numerics import NEGATIVE
from kzoo.losses.parts.blocks import AUTO, ROWS, asked, most_rows
from kzoo.losses.parts.pairwise import by_blocks
from kzoo.types import Tensor

FEW = 2 * ROWS  # scores of so many pairs take less than those of a block of a large batch


class NamedMeans(keras.metrics.Metric):
    """The running mean of several named scalars, weighted by the rows of each batch.

    Args:
        names: names of the scalars, in the order that `update_state` takes them.

    Example:
        >>> means = NamedMeans(["info_nce", "captioning"])
        >>> means.update_state([2.0, 3.0], rows=4)
        >>> means.result()
        {'info_nce': 2.0, 'captioning': 3.0}
    """

    def __init__(self, names, name="named_means"):
        super().__init__(name=name)
        self.names = tuple(names)
        self.total = self.add_variable(shape=(len(self.names),), initializer="zeros", name="total")
        self.rows = self.add_variable(shape=(), initializer="zeros", name="rows")

    def update_state(self, values, rows) -> None:
        rows = ops.cast(rows, "float32")
        values = ops.stop_gradient(ops.stack([ops.cast(value, "float32") for value in values]))
        self.total.assign_add(rows * values)
        self.rows.assign_add(rows)

    def result(self) -> dict:
        means = ops.divide_no_nan(self.total, self.rows)
        return {name: means[index] for index, name in enumerate(self.names)}


def in_batch_accuracy(a, b) -> Tensor:
    """Share of rows whose nearest row on the other side is their partner, mean of both directions.

    Args:
        a, b: float tensors `(batch, dim)`, unit length, or bags `(batch, n, dim)`, which are as near as their nearest
            members. A pair whose similarity is not finite is a miss.

    Returns:
        float32 scalar.
    """
    a, b = (ops.stop_gradient(each if len(each.shape) == 3 else each[:, None]) for each in (a, b))

    def nearest(i, real, rows, columns):
        a, b = rows["a"], columns["b"]
        z = ops.matmul(ops.reshape(a, (-1, a.shape[-1])), ops.transpose(ops.reshape(b, (-1, b.shape[-1]))))
        if each > 1:
            z = ops.max(ops.reshape(z, (-1, a.shape[1], ops.shape(b)[0], b.shape[1])), axis=(1, 3))  # (rows, batch)
        seen = ops.isfinite(z)  # an argmax takes NaN for the largest, or the first of a row of it
        z = ops.where(seen if real is None else ops.logical_and(seen, real[:, None]), z, NEGATIVE)
        own = ops.logical_and(seen, ops.equal(i[:, None], ops.arange(ops.shape(b)[0], dtype="int32")[None, :]))
        best = ops.cast(ops.argmax(z, axis=0), "int32")
        of_rows = {"column": ops.cast(ops.argmax(z, axis=1), "int32"), "seen": ops.any(own, axis=1)}
        return of_rows, {"score": ops.max(z, axis=0), "row": ops.take(i, best)}

    each = a.shape[1] * b.shape[1]
    of_rows, of_blocks = by_blocks(nearest, {"a": a}, {"b": b}, _block_size(a.shape[0], each), each)
    index = ops.arange(ops.shape(a)[0], dtype="int32")
    block = ops.argmax(of_blocks["score"], axis=0)  # of each column, (batch,)
    row = ops.squeeze(ops.take_along_axis(of_blocks["row"], block[None, :], axis=0), 0)
    hits = ops.stack([ops.equal(row, index), ops.equal(of_rows["column"], index)])
    return ops.mean(ops.cast(ops.logical_and(hits, of_rows["seen"]), "float32"))


def _block_size(rows, each):
    """Rows at a time. Without a gradient blocks compute nothing again: they begin sooner than those of a loss."""
    few = most_rows() is not None if rows is None else rows <= FEW
    return None if few or asked(None) not in (None, AUTO) else max(1, ROWS // each)
