"""ImageTextMatching against the logarithm of its softmax."""

import numpy as np
import pytest
from naive_softmax import value_of

from kzoo.losses import ImageTextMatching

RANDOM = np.random.default_rng(0)


def softmax(z):
    return np.exp(z) / np.exp(z).sum(axis=1, keepdims=True)


def test_matching():
    logits, labels = RANDOM.normal(size=(6, 2)).astype("float32"), np.array([1, 0, 0, 1, 1, 0])
    costs = -np.log(softmax(logits.astype("float64")))[np.arange(6), labels]
    weight = np.array([1, 0, 2, 1, 0, 3], "float32")
    assert value_of(ImageTextMatching(), logits, labels) == pytest.approx(costs.mean(), rel=1e-6)
    weighted = value_of(ImageTextMatching(), logits, labels, sample_weight=weight)
    assert weighted == pytest.approx((weight * costs).sum() / 7.0, rel=1e-6)


def test_bad_input():
    with pytest.raises(ValueError, match=r"logits as \(pairs, 2\), but got logits \(3, 1\)"):
        ImageTextMatching()(np.zeros((3, 1)), np.zeros(3, "int32"))
