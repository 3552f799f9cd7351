"""A queue of past keys: a ring buffer that losses compare with, kept in weights that no gradient changes."""

import keras
from keras import ops

from kzoo.arguments import COUNT
from kzoo.layers.numerics import l2_normalize
from kzoo.types import Tensor


def add_queue(loss, size, dim, num_groups=None, empty=False, seed=None) -> None:
    """Give a loss the weights `queue` and `pointer`, the slot that the next key goes to.

    Args:
        loss: the loss, in its constructor.
        size: slots, K.
        dim: length of a key.
        num_groups: how many queues of K slots; None: one, and then the weights have no axis of groups.
        empty: start from zeros, which `filled` tells from keys, instead of from random unit vectors.
        seed: of the random unit vectors.

    Raises:
        TypeError, ValueError: a size that is no positive whole number; `dim` where a loss was not given one is None.
    """
    for name, value in (("queue_size", size), ("dim", dim)):
        COUNT(name, value)
    groups = () if num_groups is None else (num_groups,)

    def unit_vectors(shape, dtype=None):
        return l2_normalize(keras.random.normal(shape, seed=seed))

    initializer = "zeros" if empty else unit_vectors
    loss.queue = loss.add_weight(name="queue", shape=(*groups, size, dim), initializer=initializer, trainable=False)
    loss.pointer = loss.add_weight(name="pointer", shape=groups, dtype="int32", initializer="zeros", trainable=False)


def filled(queue) -> Tensor:
    """Which slots of a queue that started empty hold a key, bool `(..., K)`: a key of only zeros counts as none."""
    return ops.any(ops.not_equal(queue, 0), axis=-1)


def enqueued(queue, pointer, keys, groups=None) -> tuple:
    """The queue and its pointer after the keys went in, one by one in their order, over the oldest ones.

    `queue[(pointer + r) mod K] = keys[r]`, `pointer = (pointer + B) mod K`. Each slot looks up the last key that is
    meant for it, where a scatter of more keys than slots would leave to chance which one stays. Queues that go
    together (keys and their labels) are filled from the same pointer.

    Args:
        queue: weight `(K, ...)`, or `(groups, K, ...)` when `groups` is given.
        pointer: int weight `()`, or `(groups,)`.
        keys: tensor `(batch, ...)`; no gradient goes through.
        groups: int tensor `(batch,)`, the queue that each key goes to; None: there is only one. A group outside of
            the queues is in none.

    Returns:
        `(queue, pointer)`, to be assigned by the caller.

    Example:
        >>> queue, pointer = enqueued(np.zeros((3, 1)), 0, np.array([[1.0], [2.0], [3.0], [4.0]]))
        >>> queue[:, 0], pointer
        [4.0, 2.0, 3.0], 1
    """
    if groups is None:
        one = ops.zeros((ops.shape(keys)[0],), "int32")
        queue, pointer = enqueued(ops.expand_dims(queue, 0), ops.expand_dims(pointer, 0), keys, one)
        return queue[0], pointer[0]
    queue, groups = ops.convert_to_tensor(queue), ops.cast(groups, "int32")
    pointer = ops.cast(pointer, "int32")[:, None]
    keys = ops.stop_gradient(ops.cast(keys, queue.dtype))
    batch, (num_groups, size) = ops.shape(keys)[0], queue.shape[:2]
    names = ops.arange(num_groups, dtype="int32")
    belongs = ops.cast(ops.equal(groups[:, None], names), "int32")  # (batch, groups)
    count = ops.sum(belongs, axis=0)[:, None]
    first = ops.cumsum(count, axis=0) - count
    stands = ops.where(ops.any(belongs > 0, axis=1), groups, num_groups)
    order = ops.argsort(stands * batch + ops.arange(batch, dtype="int32"))  # by group, then as they came

    offset = ops.mod(ops.arange(size, dtype="int32") - pointer, size)  # (groups, K): of the slot's first key
    last = offset + size * ((count - 1 - offset) // size)
    row = ops.take(order, ops.clip(first + last, 0, batch - 1))
    taken = ops.reshape(offset < count, (num_groups, size, *[1] * (len(queue.shape) - 2)))
    return ops.where(taken, ops.take(keys, row, axis=0), queue), ops.mod(pointer + count, size)[:, 0]


def enqueue(loss, keys, groups=None) -> None:
    """Put keys into the queue of a loss that `add_queue` made, and move its pointer; see `enqueued`."""
    queue, pointer = enqueued(loss.queue, loss.pointer, keys, groups)
    loss.queue.assign(queue)
    loss.pointer.assign(pointer)
