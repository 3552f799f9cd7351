"""The gradient of a function of tensors inside a forward pass, which Keras has no operation for."""

import keras
from keras import ops

from kzoo.types import Tensor


def inner_gradient(function, x) -> Tensor:
    """`d function(x) / d x` as a constant: no gradient of the step goes through it, nor into what `function` reads.

    Args:
        function: of one tensor to a scalar.
        x: float tensor.

    Returns:
        tensor like `x`, without a gradient of its own.

    Example:
        >>> inner_gradient(lambda x: ops.sum(x**2), np.array([3.0, 4.0]))
        [6., 8.]
    """
    x = ops.stop_gradient(ops.convert_to_tensor(x))
    backends = {"jax": _with_jax, "tensorflow": _with_tensorflow, "torch": _with_torch}
    return ops.stop_gradient(backends[keras.config.backend()](function, x))


def _with_jax(function, x):
    import jax

    return jax.grad(function)(x)


def _with_tensorflow(function, x):
    import tensorflow as tf

    with tf.GradientTape() as tape:
        tape.watch(x)
        value = function(x)
    return tape.gradient(value, x)


def _with_torch(function, x):
    import torch

    with torch.enable_grad():  # prediction runs without
        x = x.detach().requires_grad_()
        return torch.autograd.grad(function(x), x)[0]
