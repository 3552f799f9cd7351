"""Where a hallucinated positive lies, what is drawn, and where its gradient goes."""

import keras
import numpy as np
import pytest
from shared_case import fill, numpy, value_and_gradients

from kzoo.layers import Hallucinator

random = np.random.default_rng(0)
X, OTHER = random.normal(size=(2, 4, 5)).astype("float32")


def built(**arguments):
    layer = Hallucinator(seed=3, **arguments)
    layer.build((None, 5), (None, 5))
    fill(layer.mlp)
    return layer


def test_it_lies_beyond_the_row_away_from_the_other():
    layer = built(strength=0.8)
    np.testing.assert_allclose(numpy(layer(X, OTHER)), numpy(layer.mlp(X + 0.4 * (X - OTHER))), atol=1e-5)
    drawn = [numpy(layer(X, OTHER, training=True)) for _ in range(2)]
    assert np.abs(drawn[0] - drawn[1]).max() > 1e-3
    none = built(strength=0.0)
    np.testing.assert_allclose(numpy(none(X, OTHER, training=True)), numpy(none.mlp(X)), atol=1e-6)


def test_no_gradient_goes_to_the_other():
    layer = built()
    _, (own, other) = value_and_gradients(lambda x, y: keras.ops.sum(layer(x, y)), [X, OTHER])
    assert np.abs(own).max() > 1e-3 and not other.any()


def test_a_negative_strength():
    with pytest.raises(ValueError, match="strength is -1"):
        Hallucinator(strength=-1)
