"""A function of blocks on TensorFlow, one block after another.

`keras.ops.map` would run up to ten blocks at once, and hold the scores of as many.
"""

import keras


def mapped(function, blocks) -> list:
    """`function(rows of a block)`, a tuple of tensors, of every block: a list of them, stacked.

    Args:
        function: of a tuple of tensors `(rows, ...)`; called once more on the first block, for dtypes and shapes.
        blocks: tuple of tensors `(blocks, rows, ...)`.
    """
    import tensorflow as tf

    first = function(tuple(each[0] for each in blocks))
    signature = keras.tree.map_structure(tf.TensorSpec.from_tensor, first)
    once = {} if tf.executing_eagerly() else {"parallel_iterations": 1}
    function = tf.autograph.experimental.do_not_convert(function)  # it is traced as it is, in less time
    return tf.map_fn(function, blocks, fn_output_signature=signature, **once)
