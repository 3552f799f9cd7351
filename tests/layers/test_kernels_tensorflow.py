"""On TensorFlow a training step keeps less for its gradients, which are those that it would take by itself."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import ops
from shared_case import batch_of, tiny_model

from kzoo.layers.linear import Dense
from kzoo.layers.numerics import LayerNormalization, activation_function
from kzoo.layers.own_gradient import NAME

pytestmark = pytest.mark.skipif(keras.config.backend() != "tensorflow", reason="elsewhere gradients are as they come")
X = np.random.default_rng(0).normal(size=(3, 4, 8)).astype("float32")
ACTIVATIONS = ("quick_gelu", "gelu", "gelu_tanh")


class Around(keras.layers.Layer):
    """Calls a function as a layer, so that Keras knows whether it is trained."""

    def __init__(self, function, inner=None):
        super().__init__()
        self.function, self.inner, self.built = function, inner, True

    def call(self, x, training=None):
        return self.function(x)


def cases():
    random = np.random.default_rng(1)
    norm, dense, plain = LayerNormalization(epsilon=1e-5), Dense(5), Dense(5, use_bias=False)
    for layer in (norm, dense, plain):
        layer.build(X.shape)
        for weight in layer.weights:
            weight.assign(random.normal(size=weight.shape))
    return {name: (activation_function(name), None) for name in ACTIVATIONS} | {
        "norm": (norm, norm),
        "dense": (dense, dense),
        "dense without a bias": (plain, plain),
    }


def gradients(function, layer, training, run):
    """Value, gradients of input and weights, and the gradient of the length of that of the input."""
    around, weights = Around(function, layer), layer.trainable_variables if layer else []

    def compute(x):
        with tf.GradientTape() as outer:
            outer.watch(x)
            with tf.GradientTape() as inner:
                inner.watch(x)
                found = around(x, training=training)
                total = tf.reduce_sum(tf.sin(found))
            first = inner.gradient(total, [x, *(each.value for each in weights)])
            length = tf.reduce_sum(tf.square(first[0]))
        return found, first, outer.gradient(length, x)

    return run(compute)(tf.constant(X))


@pytest.mark.parametrize("name", [*ACTIVATIONS, "norm", "dense", "dense without a bias"])
@pytest.mark.parametrize("compiled", [False, True])
def test_numbers_are_those_that_tensorflow_finds_by_itself(name, compiled):
    case = cases()[name]
    trained = tf.function(lambda x: gradients(*case, True, lambda f: f), autograph=False, jit_compile=compiled)
    wanted = gradients(*case, False, lambda f: f)
    graph = tf.function(lambda: gradients(*case, True, lambda f: f), autograph=False)
    found = trained(X)
    for one, other in zip(tf.nest.flatten(found), tf.nest.flatten(wanted), strict=True):
        np.testing.assert_allclose(one, other, rtol=2e-5, atol=2e-5)
    names = str(graph.get_concrete_function().graph.as_graph_def())
    assert NAME in names


def test_only_a_step_of_training_has_them():
    model = tiny_model(depth=1)
    batch = {name: tf.constant(each) for name, each in batch_of(model, 2).items()}
    for training in (False, True):
        graph = tf.function(lambda training=training: model.call(batch, training=training), autograph=False)
        assert (NAME in str(graph.get_concrete_function().graph.as_graph_def())) is training


def test_a_frozen_product_has_no_gradient_of_its_weights():
    layer = Dense(5)
    layer.build(X.shape)
    layer.trainable = False
    graph = tf.function(lambda: Around(layer, layer)(ops.convert_to_tensor(X), training=True), autograph=False)
    assert NAME not in str(graph.get_concrete_function().graph.as_graph_def())
