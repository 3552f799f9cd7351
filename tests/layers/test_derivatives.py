"""Derivatives that a user takes, beside those of training: forwards, twice, of many rows at a time."""

import keras
import numpy as np
import pytest
from keras import ops
from shared_case import numpy

from kzoo.layers.attention import Attention
from kzoo.layers.convolution import BatchNormalization, DepthwiseConv2D
from kzoo.layers.linear import Dense
from kzoo.layers.numerics import LayerNormalization, embed, quick_gelu

RANDOM = np.random.default_rng(0)
X, ALONG = (RANDOM.normal(size=(3, 4, 8)).astype("float32") for _ in range(2))
on = {name: pytest.mark.skipif(keras.config.backend() != name, reason=name) for name in ("jax", "tensorflow", "torch")}


def built(layer, shape=X.shape):
    layer.build(shape)
    return layer


def pieces():
    depthwise = built(DepthwiseConv2D(3), (3, 4, 4, 8))
    ids = np.array([[1, 2], [2, 3]])
    return {
        "quick_gelu": quick_gelu,
        "dense": built(Dense(5)),
        "norm": built(LayerNormalization(epsilon=1e-5)),
        "attention": built(Attention(8, 2, causal=True)),
        "depthwise": lambda x: depthwise(ops.repeat(x[:, :, None], 4, axis=2)),
        "embed": lambda x: embed(ops.reshape(x, (12, 8)), ids),
    }


NAMES = ("quick_gelu", "dense", "norm", "attention", "depthwise", "embed")


def close(found, wanted):
    np.testing.assert_allclose(numpy(found), numpy(wanted), rtol=2e-5, atol=2e-5)


@on["torch"]
@pytest.mark.parametrize("name", NAMES[:-1])
def test_transformations_of_torch(name, monkeypatch):
    import torch
    from torch.autograd.functional import jacobian

    from kzoo.layers import kernels_torch

    monkeypatch.setattr(kernels_torch, "onednn_is_faster", lambda: True)
    monkeypatch.setattr(kernels_torch, "FEWEST_ROWS", 1)
    monkeypatch.setattr(kernels_torch, "FEWEST_PRODUCTS", 1)
    x, along, piece = torch.tensor(X), torch.tensor(ALONG), pieces()[name]

    def value(x):
        return torch.sin(piece(x)).sum()

    def of_row(row):
        return value(row[None])

    def each(x):
        return torch.sin(piece(x)).flatten(1).sum(1)

    rows = [torch.func.grad(of_row)(row) for row in x]
    gradient = jacobian(value, x)
    close(torch.stack(rows), gradient)
    close(torch.func.vmap(torch.func.grad(of_row))(x), gradient)
    close(torch.func.jvp(value, (x,), (along,))[1], (gradient * along).sum())
    with torch.autograd.forward_ad.dual_level():
        dual = value(torch.autograd.forward_ad.make_dual(x, along))
        close(torch.autograd.forward_ad.unpack_dual(dual).tangent, (gradient * along).sum())
    close(jacobian(each, x, vectorize=True), jacobian(each, x))


@on["jax"]
@pytest.mark.parametrize("name", NAMES[-2:])
def test_transformations_of_jax(name):
    import jax

    piece = pieces()[name]

    def value(x):
        return ops.sum(ops.sin(piece(x)))

    @jax.jit
    def derived(x, along):
        gradient = jax.grad(value)
        twice = jax.grad(lambda x: ops.vdot(gradient(x), along))
        forwards = jax.jvp(value, (x,), (along,))[1], jax.jvp(gradient, (x,), (along,))[1]
        return forwards, (ops.vdot(gradient(x), along), twice(x)), jax.vmap(gradient)(x[None]), gradient(x)[None]

    forwards, backwards, many, one = derived(X, ALONG)
    for found, wanted in zip((*forwards, many), (*backwards, one)):
        close(found, wanted)


@on["tensorflow"]
@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("traced", [False, True])
def test_a_norm_has_its_second_derivative(training, traced):
    """That of Keras takes the mean for a constant in the variance, which is right for the first one alone."""
    import tensorflow as tf

    class Within(keras.layers.Layer):
        def call(self, x, training=None):
            return norm(x)

    norm, around = pieces()["norm"], Within()

    def twice(x, along):
        with tf.GradientTape() as outer:
            outer.watch(x)
            with tf.GradientTape() as inner:
                inner.watch(x)
                value = tf.reduce_sum(tf.sin(around(x, training=training)))
            change = tf.reduce_sum(inner.gradient(value, x) * along)
        return outer.gradient(change, x)

    def gradient(x):
        deviation = np.sqrt(x.var(-1, keepdims=True) + 1e-5)
        normed = (x - x.mean(-1, keepdims=True)) / deviation
        own = np.cos(normed)
        along = np.mean(own * normed, -1, keepdims=True)
        return (own - own.mean(-1, keepdims=True) - normed * along) / deviation

    step, x, along = 1e-5, X.astype("float64"), ALONG.astype("float64")
    wanted = (gradient(x + step * along) - gradient(x - step * along)) / (2.0 * step)
    close((tf.function(twice, autograph=False) if traced else twice)(tf.constant(X), tf.constant(ALONG)), wanted)


@on["tensorflow"]
@pytest.mark.parametrize("traced", [False, True])
def test_a_batch_norm_has_its_second_derivative(traced):
    """Likewise, in training; the first derivative stays that of Keras."""
    import tensorflow as tf

    norms = [built(kind(epsilon=1e-3)) for kind in (BatchNormalization, keras.layers.BatchNormalization)]

    def gradient(norm, x):
        with tf.GradientTape() as tape:
            tape.watch(x)
            value = tf.reduce_sum(tf.sin(norm(x, training=True)))
        return tape.gradient(value, x)

    def twice(x, along):
        with tf.GradientTape() as tape:
            tape.watch(x)
            change = tf.reduce_sum(gradient(norms[0], x) * along)
        return tape.gradient(change, x), [gradient(norm, x) for norm in norms]

    def change(x):
        deviation = np.sqrt(x.var((0, 1)) + 1e-3)
        normed = (x - x.mean((0, 1))) / deviation
        own = np.cos(normed)
        return (own - own.mean((0, 1)) - normed * np.mean(own * normed, (0, 1))) / deviation

    step, x, along = 1e-5, X.astype("float64"), ALONG.astype("float64")
    wanted = (change(x + step * along) - change(x - step * along)) / (2.0 * step)
    run = tf.function(twice, autograph=False) if traced else twice
    found, (own, theirs) = run(tf.constant(X), tf.constant(ALONG))
    close(found, wanted)
    np.testing.assert_allclose(own, theirs, rtol=1e-6, atol=1e-7)
