"""CrossEntropy against a loop, with smoothing and weights; its gradient; what it refuses."""

import math

import numpy as np
import pytest
from shared_case import numpy, value_and_gradients

from kzoo.losses import CrossEntropy

LOGITS = np.random.default_rng(0).normal(0.0, 3.0, (5, 4)).astype("float32")
LABELS = np.array([0, 3, 1, 1, 2])
WEIGHT = np.array([1.0, 0.0, 2.0, 0.5, 1.0], "float32")


def rows(smoothing=0.0):
    """The loss of each row, in a loop over the classes."""
    found = []
    for z, y in zip(LOGITS.astype("float64"), LABELS):
        missing = math.log(np.exp(z).sum()) - z
        found.append(sum(((1 - smoothing) * (c == y) + smoothing / 4) * missing[c] for c in range(4)))
    return np.array(found)


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_it_is_the_loop_over_rows_and_classes(smoothing):
    loss = CrossEntropy(smoothing)
    assert float(numpy(loss(LOGITS, labels=LABELS))) == pytest.approx(rows(smoothing).mean(), rel=1e-6)
    weighted = float(numpy(loss(LOGITS, labels=LABELS[:, None], sample_weight=WEIGHT)))
    assert weighted == pytest.approx((WEIGHT * rows(smoothing)).sum() / WEIGHT.sum(), rel=1e-6)


def test_its_gradient_is_probabilities_less_targets_and_finite_for_huge_logits():
    _, (gradient,) = value_and_gradients(lambda z: CrossEntropy()(z, labels=LABELS), [LOGITS])
    p = np.exp(LOGITS) / np.exp(LOGITS).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(gradient, (p - np.eye(4)[LABELS]) / 5, atol=1e-6)
    assert np.isfinite(float(numpy(CrossEntropy()(1e4 * LOGITS, labels=LABELS))))


@pytest.mark.once
def test_what_is_refused():
    with pytest.raises(ValueError, match="label"):
        CrossEntropy()(LOGITS, labels=np.array([0, 1, 2, 3, 4]))
    with pytest.raises(TypeError, match="labels"):
        CrossEntropy()(LOGITS)
    with pytest.raises(ValueError, match="label_smoothing is 1"):
        CrossEntropy(label_smoothing=1.0)
