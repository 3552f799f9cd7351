"""One position of each row, for towers that read a text id by id."""

import numpy as np
from keras import ops

from kzoo.layers.numerics import reshape
from kzoo.types import Tensor


class Step:
    """The ids of some rows, of which a tower now reads one each.

    Args:
        token_ids: int tensor `(rows, S)`: every id up to and including the position; what follows is not looked at.
        positions: int tensor `(rows,)`, the position that each row is at.

    Attributes:
        at: bool tensor `(rows, S)`, True at the position.
        seen: bool tensor `(rows, S)`, True at the position and before it.

    Example:
        >>> Step(np.array([[1, 7, 9, 0]]), np.array([2])).ids
        [[9]]
    """

    def __init__(self, token_ids, positions):
        places = np.arange(token_ids.shape[1], dtype="int32")[None]
        positions = ops.expand_dims(ops.cast(positions, "int32"), 1)
        self.token_ids = ops.cast(token_ids, "int32")
        self.at, self.seen = ops.equal(positions, places), ops.greater_equal(positions, places)

    @property
    def ids(self) -> Tensor:
        """The ids at the positions, `(rows, 1)`."""
        # a sum, where a gather of one element per row would export with a frozen batch
        return ops.sum(ops.where(self.at, self.token_ids, 0), axis=1, keepdims=True)

    def rows_of(self, table) -> Tensor:
        """The rows of a position table at the positions, `(rows, 1, width)`."""
        table = ops.convert_to_tensor(table)[: self.at.shape[1]]
        return ops.expand_dims(ops.matmul(ops.cast(self.at, table.dtype), table), 1)


class Past(tuple):
    """Keys and values of the positions before, of one block, that a step reads and gives back unwritten.

    The step gives those of its own position alone, for whoever holds the cache to write into it: what writes one row of
    a cache within a graph reads and writes all of it.
    """


def beside(at, visible) -> Tensor:
    """Of `visible` `(rows, S)` what is seen of a past, and behind it whether the position `at` is: `(rows, S + 1)`."""
    own = ops.sum(ops.cast(ops.logical_and(visible, at), "float32"), axis=1, keepdims=True)
    return ops.concatenate([ops.logical_and(visible, ops.logical_not(at)), ops.greater(own, 0.0)], axis=1)


def fold(x, copies) -> Tensor:
    """`(pictures * copies, 1, width)` to `(pictures, copies, width)`.

    The rows of a picture stand beside each other and read the same memory, which is then held once.
    """
    return reshape(x, (-1, copies, x.shape[-1]))


def unfold(x) -> Tensor:
    """The inverse of `fold`."""
    return reshape(x, (-1, 1, x.shape[-1]))
