"""Gradients that let a training step on TensorFlow hold less: what a layer keeps for them, and the order they come in.

TensorFlow keeps the result of each operation that some gradient reads, three arrays of the hidden width for one
activation, where the input is enough. And what is ready runs last in, first out: the sum that is the gradient of a bias
waits until all else of the backward pass is done, and holds what it is the sum of.
"""

import math
from collections.abc import Callable
from functools import cache

from kzoo.layers.own_gradient import own_gradient
from kzoo.types import Tensor

TANH_SCALE, TANH_CUBE = math.sqrt(2.0 / math.pi), 0.044715  # of the tanh form of GELU


def in_graph(*tensors) -> bool:
    """Whether some tensors are of a graph that is traced; what runs at once orders nothing anew."""
    import tensorflow as tf

    return tf.inside_function() and all(map(tf.is_tensor, tensors))


def _late(x, upstream):
    """`x`, not before its gradient is asked for: what is made of it again would else be made with the first one."""
    import tensorflow as tf

    with tf.control_dependencies([upstream]):
        return tf.identity(x)


# -- activations, of which the input is kept --
def _activation(forward, gradient):
    @own_gradient
    def run(x):
        return forward(x), lambda upstream: gradient(_late(x, upstream), upstream)

    return run


@cache
def activation(name) -> Callable:
    """The activation of `kzoo.layers.numerics` called `name`, of which the gradient keeps the input alone."""
    return _activation(
        *{"quick_gelu": (_quick, _of_quick), "gelu": (_exact, _of_exact), "gelu_tanh": (_tanh, _of_tanh)}[name]
    )


def _quick(x):
    import tensorflow as tf

    return x * tf.sigmoid(1.702 * x)


def _of_quick(x, upstream):
    import tensorflow as tf

    share = tf.sigmoid(1.702 * x)
    return upstream * share + 1.702 * tf.raw_ops.SigmoidGrad(y=share, dy=upstream * x)


def _exact(x):
    import tensorflow as tf

    return 0.5 * x * (1.0 + tf.math.erf(x * (1.0 / math.sqrt(2.0))))


def _of_exact(x, upstream):
    import tensorflow as tf

    density = tf.exp(-0.5 * tf.square(x)) * (1.0 / math.sqrt(2.0 * math.pi))
    return upstream * (0.5 * (1.0 + tf.math.erf(x * (1.0 / math.sqrt(2.0)))) + x * density)


def _tanh(x):
    import tensorflow as tf

    return tf.nn.gelu(x, approximate=True)


def _of_tanh(x, upstream):
    import tensorflow as tf

    square = tf.square(x)
    inner = tf.tanh(TANH_SCALE * x * (1.0 + TANH_CUBE * square))
    slope = TANH_SCALE * (1.0 + 3.0 * TANH_CUBE * square)
    return upstream * (0.5 * (1.0 + inner) + 0.5 * x * (1.0 - tf.square(inner)) * slope)


# -- layer norm, of which the input, its mean and deviation are kept --
@cache
def layer_norm(epsilon) -> Callable:
    """A function of `x` `(..., width)`, gain and shift `(width,)`: the layer norm of Keras, with its numbers."""
    import tensorflow as tf

    @own_gradient
    def normed(x, gamma, beta):
        mean, variance = tf.nn.moments(x, [-1], keepdims=True)
        inverse = tf.math.rsqrt(variance + epsilon)
        scaled = inverse * gamma

        def gradients(upstream):
            found = (_late(x, upstream) - mean) * inverse
            rows = [*range(len(x.shape) - 1)]
            of_weights = [tf.reduce_sum(each, rows) for each in (upstream * found, upstream)]
            with tf.control_dependencies(of_weights):
                own = upstream * gamma
                along = tf.reduce_mean(own * found, -1, keepdims=True)
                of_x = inverse * (own - tf.reduce_mean(own, -1, keepdims=True) - found * along)
            return of_x, *of_weights

        return x * scaled + (-mean * scaled + beta), gradients

    return normed


def plain_norm(x, gamma, beta, epsilon) -> Tensor:
    """The operations of Keras, but for its variance, for which the mean is a constant: right for the first derivative
    alone."""
    import tensorflow as tf

    mean = tf.reduce_mean(x, -1, keepdims=True)
    variance = tf.reduce_mean(tf.math.squared_difference(x, mean), -1, keepdims=True)
    scaled = tf.math.rsqrt(variance + epsilon) * gamma
    return x * scaled + (-mean * scaled + beta)


@cache
def moments(axes) -> Callable:
    """A function of `x` to its mean and variance over some axes, as those of Keras, whose variance takes the mean for a
    constant: right for the first derivative alone."""
    import tensorflow as tf

    @own_gradient
    def found(x):
        mean = tf.reduce_mean(x, axes, keepdims=True)
        variance = tf.reduce_mean(tf.math.squared_difference(x, mean), axes)

        def gradients(of_mean, of_variance):
            count = tf.cast(tf.size(x) // tf.size(mean), x.dtype)
            of_mean, of_variance = (tf.reshape(each, tf.shape(mean)) / count for each in (of_mean, of_variance))
            return of_mean + 2.0 * of_variance * (_late(x, of_variance) - mean)

        return (tf.squeeze(mean, axes), variance), gradients

    return found


# -- products --
@cache
def product(with_bias) -> Callable:
    """A function of `x` `(..., d_in)`, a kernel `(d_in, d_out)` and, where it has one, a bias `(d_out,)`.

    Its gradients come in an order: first those of the weights, which let `x` go, then that of `x`, after which nothing
    reads the kernel. Only then are those of the weights given out, for an optimizer that changes the kernel in its
    place copies one that is still to be read.
    """
    import tensorflow as tf
    from keras import ops

    @own_gradient
    def multiplied(x, kernel, *bias):
        found = ops.matmul(x, kernel)

        def gradients(upstream):
            rows, of_rows = (tf.reshape(each, (-1, each.shape[-1])) for each in (x, upstream))
            of_weights = [tf.matmul(rows, of_rows, transpose_a=True)]
            if bias:
                of_weights.append(tf.reduce_sum(upstream, [*range(len(upstream.shape) - 1)]))
            with tf.control_dependencies(of_weights):
                of_x = tf.reshape(tf.matmul(of_rows, kernel, transpose_b=True), tf.shape(x))
            with tf.control_dependencies([of_x]):
                return of_x, *map(tf.identity, of_weights)

        return (ops.add(found, bias[0]) if bias else found), gradients

    return multiplied
