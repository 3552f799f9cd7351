"""A loop over blocks that carries sums along, compiled by jax and TensorFlow."""

import keras
from keras import ops

from kzoo.types import Tensor


def scanned(step, carry, blocks, results=0) -> tuple:
    """`step` of every block in turn, one at a time.

    `keras.ops.scan` does this on jax, and on TensorFlow asks for results of the shape of what is carried.

    Args:
        step: function `(carry, block)` to `(carry, results)`, two tuples of float32 tensors.
        carry: tuple of float32 tensors, what the first step is given.
        blocks: tuple of tensors `(blocks, ...)`, of which a step is given one block.
        results: number of results of a step.

    Returns:
        `(carry, results)`: what the last step gave on, and the results of all steps, stacked.

    Example:
        >>> scanned(lambda carry, block: ((carry[0] + block[0],), (2 * block[0],)), (0.0,), (np.ones(3),), results=1)
        ((3.0,), ([2.0, 2.0, 2.0],))
    """
    if keras.config.backend() != "tensorflow":
        return ops.scan(step, carry, blocks)
    import tensorflow as tf

    count = ops.shape(blocks[0])[0]
    stores = tuple(tf.TensorArray("float32", count) for _ in range(results))

    def body(place, carry, stores):
        carry, found = step(carry, tuple(each[place] for each in blocks))
        return place + 1, carry, tuple(store.write(place, each) for store, each in zip(stores, found, strict=True))

    # by default TensorFlow runs up to ten steps at once, and would hold the scores of as many
    _, carry, stores = tf.while_loop(lambda place, *_: place < count, body, (0, carry, stores), parallel_iterations=1)
    return carry, tuple(store.stack() for store in stores)


def cut(value, size) -> Tensor:
    """`(rows, ...)` in blocks `(blocks, size, ...)`, with zeros in the rows that the last block lacks.

    Example:
        >>> cut(np.arange(1.0, 4.0), 2)
        [[1.0, 2.0], [3.0, 0.0]]
    """
    missing = -ops.shape(value)[0] % size
    if not isinstance(missing, int) or missing:  # else it would be copied for nothing
        value = ops.pad(value, [[0, missing]] + [[0, 0]] * (len(value.shape) - 1))
    return ops.reshape(value, (-1, size, *ops.shape(value)[1:]))
