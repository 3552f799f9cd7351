"""Products with kernels of 8 bits in a training: the numbers of Keras, and one wide kernel at a time."""

import keras
import numpy as np
import pytest
from keras import ops
from shared_case import numpy, value_and_gradients

from kzoo.layers.int8 import int8_product
from kzoo.layers.linear import Dense

X = np.random.default_rng(0).normal(size=(3, 5, 6)).astype("float32")


def quantised(kind, units=4, width=6, **options):
    keras.utils.set_random_seed(3)
    layer = kind(units, **options)
    layer.build((None, None, width))
    layer.bias.assign(np.arange(units, dtype="float32"))
    layer.quantize("int8")
    return layer


def test_the_numbers_and_the_gradient_are_those_of_keras():
    weights = np.random.default_rng(1).normal(size=(3, 5, 4)).astype("float32")
    found = []
    for kind in (keras.layers.Dense, Dense):
        layer = quantised(kind, activation="tanh")
        value, gradients = value_and_gradients(
            lambda x, own=layer: ops.sum(ops.multiply(weights, own(x, training=True))), [X]
        )
        found.append((numpy(layer(X, training=True)), numpy(value), numpy(gradients[0])))
    for own, theirs in zip(*found):
        np.testing.assert_allclose(own, theirs, atol=1e-4)


@pytest.mark.skipif(keras.config.backend() != "jax", reason="jax tells what a compiled step takes")
def test_a_step_through_many_layers_holds_few_wide_kernels_at_once():
    import jax

    layer, count, width = quantised(Dense, 256, 256), 8, 256
    kernels = [np.random.default_rng(place).integers(-9, 9, (width, width)).astype("int8") for place in range(count)]

    def chained(product):
        def through(x, kernels):
            for kernel in kernels:
                x = product(x, kernel)
            return x.sum()

        compiled = jax.jit(jax.grad(through)).lower(np.ones((2, width), "float32"), kernels).compile()
        return compiled.memory_analysis().temp_size_in_bytes

    def one_at_a_time(x, kernel):
        return int8_product(x, kernel, np.ones(width, "float32"), layer.inputs_quantizer, "float32")

    def whenever(x, kernel):
        return ops.matmul(x, ops.cast(kernel, "float32"))

    wide = 4 * width * width
    assert chained(whenever) > count * wide > 3 * wide > chained(one_at_a_time)
