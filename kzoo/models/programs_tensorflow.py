"""Graphs of TensorFlow in which blocks that are alike are one function, traced and optimised once for all of them."""

from contextlib import nullcontext
from typing import Any

from kzoo.layers.repeated import BlockPrograms, one_program_each

# calls of it stay calls: the graph would have a copy for each, which takes most of the time until it runs
CALLED = {"_noinline": True}


def blocks_once() -> Any:
    """A context in which a graph is traced. On processors, of one replica: elsewhere it was not measured."""
    import tensorflow as tf

    if not tf.inside_function() or tf.distribute.has_strategy() or tf.config.list_logical_devices("GPU"):
        return nullcontext()

    def compiled(block):
        likes = []

        def of_handles(handles, tensors):
            return block([_read(each, like) for each, like in zip(handles, likes, strict=True)], tensors)

        function = tf.function(of_handles, autograph=False, experimental_attributes=CALLED)

        def called(values, tensors):  # variables themselves would belong to one block
            likes[:] = [(each.dtype, each.shape) for each in values]
            return function([each.handle if isinstance(each, tf.Variable) else each for each in values], tensors)

        return called

    return one_program_each(BlockPrograms(compiled))


def _read(handle, like):
    """The value of a variable, which the block reads, so that the graph has an operation less for each."""
    import tensorflow as tf

    if handle.dtype != tf.resource:
        return handle
    value = tf.raw_ops.ReadVariableOp(resource=handle, dtype=like[0])
    value.set_shape(like[1])
    return value
