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
        function = tf.function(block, autograph=False, experimental_attributes=CALLED)

        def called(values, tensors):  # variables themselves would belong to one block
            return function([tf.convert_to_tensor(each) for each in values], tensors)

        return called

    return one_program_each(BlockPrograms(compiled))
