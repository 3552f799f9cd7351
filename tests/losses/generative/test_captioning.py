"""Captioning: which tokens count, and how the mask and the padding id say so."""

import math

import numpy as np
import pytest
from shared_case import numpy, value_and_gradients

from kzoo.losses import Captioning

random = np.random.default_rng(0)
LOGITS = random.normal(size=(2, 3, 7)).astype("float32")
LABELS = np.array([[1, 2, 0], [3, 0, 0]], "int32")
MASK = LABELS != 0


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_uniform_logits_cost_the_log_of_the_vocabulary(smoothing):
    value = numpy(Captioning(smoothing)(np.zeros_like(LOGITS), LABELS))
    assert float(value) == pytest.approx(math.log(7), rel=1e-6)


def test_mean_over_real_tokens_of_the_batch():
    log_probabilities = LOGITS - np.log(np.exp(LOGITS).sum(-1, keepdims=True))
    tokens = [-log_probabilities[i, t, LABELS[i, t]] for i in range(2) for t in range(3) if MASK[i, t]]
    assert float(numpy(Captioning()(LOGITS, LABELS, mask=MASK))) == pytest.approx(np.mean(tokens), rel=1e-6)
    assert float(numpy(Captioning(pad_id=0)(LOGITS, LABELS))) == pytest.approx(np.mean(tokens), rel=1e-6)


def test_masked_positions_have_no_gradient():
    _, (gradient,) = value_and_gradients(lambda z: Captioning()(z, LABELS, mask=MASK), [LOGITS])
    assert np.all(gradient[~MASK] == 0.0) and np.all(np.abs(gradient[MASK]).sum(-1) > 0)


def test_no_token_at_all_is_zero_and_finite():
    value, (gradient,) = value_and_gradients(lambda z: Captioning()(z, LABELS, mask=MASK & False), [LOGITS])
    assert value == 0.0 and np.all(gradient == 0.0)


def test_row_weights_multiply_tokens():
    alone = float(numpy(Captioning()(LOGITS[:1], LABELS[:1], mask=MASK[:1])))
    weighted = numpy(Captioning()(LOGITS, LABELS, mask=MASK, sample_weight=np.array([1.0, 0.0], "float32")))
    assert float(weighted) == pytest.approx(alone, rel=1e-6)
