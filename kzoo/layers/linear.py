"""Products with a matrix, by what multiplies them fastest on each backend."""

from typing import Any

import keras
from keras import ops

from kzoo.keras_contact import CalledDirectly
from kzoo.layers.initializers import Normal
from kzoo.layers.int8 import int8_product, needs_order
from kzoo.layers.numerics import keeps_less, value_of
from kzoo.types import Tensor


def multiplied(x, kernel, bias=None) -> Tensor:
    """`x kernel + bias`.

    Args:
        x: float tensor `(..., d_in)`.
        kernel: float tensor `(d_in, d_out)`.
        bias: float tensor `(d_out,)`, or None.

    Returns:
        float tensor `(..., d_out)`.
    """
    if keras.config.backend() == "torch":
        from kzoo.layers.kernels_torch import multiplied as by_torch

        found = by_torch(value_of(x), value_of(kernel), bias if bias is None else value_of(bias))
        if found is not None:
            return found
    if _is_trained(x, kernel, bias):
        from kzoo.layers.kernels_tensorflow import product

        weights = [value_of(each) for each in (kernel, bias) if each is not None]
        if all(each.dtype == x.dtype for each in weights):
            return product(bias is not None)(x, *weights)
    x = _by_rows(x, kernel) if keras.config.backend() == "jax" else ops.matmul(x, kernel)
    return x if bias is None else ops.add(x, bias)


def _is_trained(x, *weights):
    """Whether a product is of weights that all get a gradient: of others it would be computed for nothing."""
    trained = (each is None or (isinstance(each, keras.Variable) and each.trainable) for each in weights)
    return keeps_less(x) and all(trained) and len(x.shape) > 1


def _by_rows(x, kernel):
    """`x kernel` with all rows of `x` in one axis.

    XLA then makes the gradient of the kernel in the layout that the optimizer wants. That of more axes it makes
    transposed, and copies for it what came to each product: a third of a training step. Where the batch has no size
    yet, a graph is traced to be exported, which would have the two reshapes in it.
    """
    lead = x.shape[:-1]
    if len(lead) < 2 or not all(isinstance(each, int) for each in lead):
        return ops.matmul(x, kernel)
    rows = ops.matmul(ops.reshape(x, (-1, x.shape[-1])), kernel)
    return ops.reshape(rows, (*lead, kernel.shape[-1]))


class Dense(CalledDirectly, keras.layers.Dense):
    """That of Keras, with the product of `multiplied`; of the same name, by which files know the layers of a list."""

    heeds_training = False  # but where it is quantised

    def call(self, inputs, training=None) -> Tensor:
        x = multiplied(inputs, self.kernel, self.bias)
        return x if self.activation is None else self.activation(x)

    def quantized_call(self, inputs, training=None) -> Tensor:
        if not training or self.lora_enabled or not needs_order(self):
            return super().quantized_call(inputs, training=training)
        held = [ops.convert_to_tensor(each) for each in (self.kernel, self.kernel_scale)]
        x = int8_product(inputs, *held, self.inputs_quantizer, self.compute_dtype)
        x = x if self.bias is None else ops.add(x, self.bias)
        return x if self.activation is None else self.activation(x)

    def quantize(self, mode=None, type_check=True, config=None) -> None:
        super().quantize(mode, type_check=False, config=config)  # Keras asks whether it is none but its own


def dense(units, stddev, policy, name, use_bias=True) -> Any:
    """A linear layer whose kernel starts from a normal distribution."""
    return Dense(units, use_bias=use_bias, kernel_initializer=Normal(stddev=stddev), dtype=policy, name=name)
