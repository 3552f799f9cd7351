"""Adversarial states against gradients that are written out, and the gradient that they are moved by."""

import numpy as np
import pytest
from keras import ops
from shared_case import fill, numpy, value_and_gradients

from kzoo.layers import AdversarialStates, LinearLogits
from kzoo.layers.inner_gradient import inner_gradient
from kzoo.models.compiled import compiled

random = np.random.default_rng(0)
SOURCE = random.normal(size=(3, 5)).astype("float32")
STATES, KERNEL, BIAS = (random.normal(size=size).astype("float32") for size in ((3, 4, 6), (6, 7), (7,)))
LABELS = random.integers(0, 7, (3, 4)).astype("int32")
REAL = np.array([[1, 1, 1, 1], [1, 1, 1, 0], [1, 0, 0, 0]], "float32")


def test_a_gradient_within_a_gradient_is_a_constant():
    x = np.array([1.0, -2.0], "float32")

    def function(x):
        return ops.sum(x * inner_gradient(lambda y: ops.sum(y**3), x))

    value, (gradient,) = value_and_gradients(function, [x])
    assert value == pytest.approx(np.sum(x * 3.0 * x**2), rel=1e-6)
    np.testing.assert_allclose(gradient, 3.0 * x**2, rtol=1e-6)


def softmax(z):
    z = np.exp(z - z.max(axis=-1, keepdims=True))
    return z / z.sum(axis=-1, keepdims=True)


def direction(g):
    length = np.linalg.norm(g, axis=-1, keepdims=True)
    return g / np.where(length > 0.0, length, 1.0)


def unit(x):
    return x / np.linalg.norm(x, axis=-1, keepdims=True)


def expected(layer):
    """The gradients of the docstring, derived by hand."""
    layers = layer.source_projection, layer.projection
    (w_source, b_source), (w, b) = [[numpy(each).astype("float64") for each in (of.kernel, of.bias)] for of in layers]
    source = np.maximum(SOURCE @ w_source + b_source, 0.0)
    count = REAL.sum(axis=1)[:, None]

    def pooled(h):
        return (np.maximum(h @ w + b, 0.0) * REAL[:, :, None]).sum(axis=1) / count

    words = softmax(STATES @ KERNEL + BIAS)
    unlikely = (words - np.eye(7)[LABELS]) @ KERNEL.T * REAL[:, :, None]

    target = pooled(STATES)
    s, t = unit(source), unit(target)
    chance = softmax(s @ t.T / layer.temperature)
    of_unit = (chance - np.eye(3)).T @ s / layer.temperature  # d sum_i CE_i / d t_j
    of_pooled = (of_unit - np.sum(of_unit * t, axis=1, keepdims=True) * t) / np.linalg.norm(target, axis=1)[:, None]
    open_ = (STATES @ w + b > 0.0) * (REAL / count)[:, :, None]
    unlike = (of_pooled[:, None] * open_) @ w.T

    far = STATES + layer.distant_step * direction(unlike)
    other_words = (softmax(far @ KERNEL + BIAS) - words) @ KERNEL.T * REAL[:, :, None]
    return {
        "source": source,
        "target": target,
        "imposter": pooled(STATES + layer.imposter_step * direction(unlikely)),
        "distant": pooled(far - layer.distant_step * direction(other_words)),
    }


def test_states_are_moved_by_gradients():
    layer = AdversarialStates(4, 6, imposter_step=0.7, distant_step=1.3, temperature=0.5)
    logits = LinearLogits(STATES, KERNEL, BIAS)
    layer.build(SOURCE.shape)
    fill(layer)
    given = compiled(layer, layer)(SOURCE, logits, LABELS, REAL)
    for name, want in expected(layer).items():
        np.testing.assert_allclose(numpy(given[name]), want, rtol=2e-4, atol=2e-4, err_msg=name)


def test_logits_that_are_multiplied_out():
    with pytest.raises(ValueError, match="the logits are multiplied out, of shape"):
        layer = AdversarialStates(4, 6)
        layer.build(SOURCE.shape)
        layer(SOURCE, np.zeros((3, 4, 7), "float32"), LABELS)
