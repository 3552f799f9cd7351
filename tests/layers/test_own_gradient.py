"""A written-out gradient: it is taken wherever the function is called, and nothing of a graph stays behind."""

import gc
import tempfile
import weakref

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import ops
from shared_case import batch_of, tiny_model, value_and_gradients

from kzoo.layers.own_gradient import own_gradient
from kzoo.losses import AlignmentUniformity, InfoNCE, SigmoidContrastive

X, Y = np.arange(3, dtype="float32"), np.array([2.0, -1.0, 0.5], "float32")
on_tensorflow = pytest.mark.skipif(keras.config.backend() != "tensorflow", reason="elsewhere nothing is registered")


@own_gradient
def product(x, y):
    """Whose gradient is three times that of the product, so that it is seen which one was taken."""

    def gradients(*arguments, upstream=None):
        upstream = arguments[-1] if upstream is None else upstream
        return 3.0 * y * upstream, 3.0 * x * upstream

    return x * y, gradients


def test_it_is_the_one_that_is_taken():
    value, (of_x, of_y) = value_and_gradients(lambda x, y: ops.sum(product(x, y)), [X, Y])
    np.testing.assert_allclose(value, np.sum(X * Y))
    np.testing.assert_allclose(of_x, 3.0 * Y)
    np.testing.assert_allclose(of_y, 3.0 * X)


@on_tensorflow
@pytest.mark.parametrize("compiled", [False, True])
def test_it_is_the_one_that_is_taken_in_branches_and_loops(compiled):
    y = tf.constant(Y)

    @tf.function(autograph=False, jit_compile=compiled)
    def run(x):
        with tf.GradientTape() as tape:
            tape.watch(x)
            found = tf.cond(tf.reduce_sum(x) > 0.0, lambda: product(x, y), lambda: x)
            step = lambda number, found: (number + 1, product(found, y))  # noqa: E731
            value = tf.while_loop(lambda number, _: number < 2, step, (0, found), maximum_iterations=2)[1]
        return value, tape.gradient(value, x)

    value, gradient = run(tf.constant(X))
    np.testing.assert_allclose(value, X * Y**3, rtol=1e-6)
    np.testing.assert_allclose(gradient, 27.0 * Y**3, rtol=1e-6)


@on_tensorflow
@pytest.mark.parametrize(
    "loss, block_size, micro_batch_size",
    [(InfoNCE, 3, None), (InfoNCE, None, 2), (SigmoidContrastive, 3, None), (AlignmentUniformity, 3, None)],
)
def test_a_model_is_let_go_that_was_trained_with_it(loss, block_size, micro_batch_size, tmp_path):
    model = tiny_model(depth=1)
    own = {"scale": 5.0, "bias": -5.0} if loss is SigmoidContrastive else {}
    loss = loss(block_size=block_size, **own)
    model.compile("sgd", loss=loss, jit_compile=False, micro_batch_size=micro_batch_size)
    model.train_on_batch(batch_of(model, 4))
    model.export(tmp_path / "graph", format="tf_saved_model") if micro_batch_size else None  # nothing of it is in there
    held = weakref.ref(model)
    del model, loss
    gc.collect()
    assert held() is None


@on_tensorflow
def test_a_graph_is_saved_without_it():
    module = tf.Module()
    module.run = tf.function(lambda x: product(x, x), [tf.TensorSpec([3])], autograph=False)
    without = tf.saved_model.SaveOptions(experimental_custom_gradients=False)
    with tempfile.TemporaryDirectory() as folder:
        with pytest.raises(ValueError, match="tracing gradients"):
            tf.saved_model.save(module, folder)
        tf.saved_model.save(module, folder, options=without)
        np.testing.assert_allclose(tf.saved_model.load(folder).run(X), X * X)
