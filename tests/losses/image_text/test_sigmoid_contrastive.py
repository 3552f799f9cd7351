"""SigmoidContrastive: invariants, whose head it reads, its errors."""

import math

import numpy as np
import pytest
from shared_case import numpy, value_and_gradients

from kzoo.losses import SigmoidContrastive


def embeddings(rows=5, dim=4):
    return np.random.default_rng(0).normal(size=(2, rows, dim)).astype("float32")


def naive(a, b, scale, bias):
    a = a / np.linalg.norm(a, axis=1, keepdims=True)
    b = b / np.linalg.norm(b, axis=1, keepdims=True)
    total = 0.0
    for i in range(len(a)):
        for j in range(len(b)):
            z = scale * float(a[i] @ b[j]) + bias
            total += math.log1p(math.exp(-z if i == j else z))
    return total / len(a)


def test_equals_a_double_loop():
    a, b = embeddings()
    assert float(numpy(SigmoidContrastive(5.0, -2.0)(a, b))) == pytest.approx(naive(a, b, 5.0, -2.0), rel=2e-6)


def test_without_a_head_of_its_own():
    a, b = embeddings()
    loss = SigmoidContrastive()
    assert not loss.variables
    assert float(numpy(loss(a, b))) == pytest.approx(naive(a, b, 10.0, -10.0), rel=1e-5)
    head = {"scale": np.float32(4.0), "bias": np.float32(-1.0)}
    assert float(numpy(loss(a, b, **head))) == pytest.approx(naive(a, b, 4.0, -1.0), rel=1e-5)


def test_scale_and_bias_are_learned_unless_told_otherwise():
    assert len(SigmoidContrastive(10.0, -10.0).trainable_variables) == 2
    assert len(SigmoidContrastive(10.0, -10.0, learnable=False).trainable_variables) == 0


def test_saturated_questions_stay_finite():
    a = np.eye(3, dtype="float32")
    value, gradients = value_and_gradients(lambda x, y: SigmoidContrastive(1e4, -1e4)(x, y), [a, -a])
    assert np.isfinite(value) and all(np.isfinite(gradient).all() for gradient in gradients)


def test_all_positive_and_no_positive():
    a, b = embeddings()
    every = np.ones((5, 5), bool)
    loss = SigmoidContrastive(1.0, 0.0)
    sides = [float(numpy(loss(a, b, positives=mask))) for mask in (every, ~every)]
    z = (a / np.linalg.norm(a, axis=1, keepdims=True)) @ (b / np.linalg.norm(b, axis=1, keepdims=True)).T
    assert sides[0] == pytest.approx(np.log1p(np.exp(-z)).sum() / 5, rel=1e-5)
    assert sides[1] == pytest.approx(np.log1p(np.exp(z)).sum() / 5, rel=1e-5)


def test_scale_and_bias_go_together():
    with pytest.raises(ValueError, match="go together"):
        SigmoidContrastive(scale=10.0)


def test_a_model_head_without_a_bias_is_refused():
    with pytest.raises(ValueError, match="this head has no bias"):
        SigmoidContrastive()(*embeddings(), scale=np.float32(4.0))
