"""Metrics."""

import keras
from keras import ops

from kzoo.layers.numerics import NEGATIVE
from kzoo.types import Tensor


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
    rows, columns = ops.shape(a)[0], ops.shape(b)[0]
    z = ops.matmul(ops.reshape(a, (-1, a.shape[-1])), ops.transpose(ops.reshape(b, (-1, b.shape[-1]))))
    z = ops.max(ops.reshape(z, (rows, a.shape[1], columns, b.shape[1])), axis=(1, 3))  # (batch, batch)
    seen = ops.isfinite(z)  # an argmax takes NaN for the largest, or the first of a row of it
    index = ops.cast(ops.arange(rows), "int32")
    z = ops.where(seen, z, NEGATIVE)
    hits = [ops.equal(ops.cast(ops.argmax(z, axis=axis), "int32"), index) for axis in (0, 1)]
    return ops.mean(ops.cast(ops.logical_and(ops.stack(hits), ops.diagonal(seen)), "float32"))
