"""The step of an optimizer on TensorFlow, one variable after another, each decayed once its gradient is there."""

import keras


def take_steps(optimizer, strategy, pairs, rate) -> None:
    """Decay variables and take their steps.

    Keras decays all weights first, which waits for nothing in a graph: it then runs beside the forward pass, whose
    reads of a weight keep the old value for the gradients to come, so that all weights are there twice.

    Args:
        optimizer: a built optimizer of Keras.
        strategy: `tf.distribute.Strategy`.
        pairs: gradients and `tf.Variable`s.
        rate: float tensor, the learning rate.
    """
    import tensorflow as tf

    for gradient, variable in pairs:
        decay = optimizer.weight_decay if optimizer.weight_decay and optimizer._use_weight_decay(variable) else None

        def step(variable, gradient, rate, decay=decay):
            # a function's output itself: once it is inlined, its operation stands for its inputs alone
            with tf.control_dependencies([tf.identity(gradient)]):
                if decay is not None:
                    by = tf.cast(decay, variable.dtype) * tf.cast(rate, variable.dtype)
                    variable.assign_sub(variable * by)
                if _takes_kernel(optimizer, variable, gradient):
                    _adam_step(optimizer, variable, gradient, rate)
                else:
                    optimizer.update_step(gradient, variable, rate)

        strategy.extended.update(variable, step, args=(gradient, rate), group=False)


def _takes_kernel(optimizer, variable, gradient):
    import tensorflow as tf

    adam = isinstance(optimizer, keras.optimizers.Adam) and not optimizer.amsgrad
    as_made = type(optimizer).update_step is keras.optimizers.Adam.update_step  # not by who derived a class
    return adam and as_made and variable.dtype == tf.float32 and not isinstance(gradient, tf.IndexedSlices)


def _adam_step(optimizer, variable, gradient, rate):
    """By the kernel of TensorFlow, which changes each number in its place: the operations of Keras make seven arrays of
    the size of a weight, several of them at a time."""
    import tensorflow as tf

    place = optimizer._get_variable_index(variable)
    number = tf.cast(tf.convert_to_tensor(optimizer.iterations) + 1, tf.float32)
    first, second = optimizer._momentums[place].value, optimizer._velocities[place].value
    tf.raw_ops.ResourceApplyAdam(
        var=variable.handle,
        m=first.handle,
        v=second.handle,
        beta1_power=tf.pow(tf.cast(optimizer.beta_1, tf.float32), number),
        beta2_power=tf.pow(tf.cast(optimizer.beta_2, tf.float32), number),
        lr=tf.cast(rate, tf.float32),
        beta1=tf.cast(optimizer.beta_1, tf.float32),
        beta2=tf.cast(optimizer.beta_2, tf.float32),
        epsilon=tf.cast(optimizer.epsilon, tf.float32),
        grad=tf.cast(gradient, tf.float32),
    )
