"""GumbelContrastive: where it is least, and its noise."""

import math

import keras
import numpy as np
import pytest
from naive_softmax import value_of
from shared_case import numpy

from kzoo.losses import GumbelContrastive

random = np.random.default_rng(0)
LOGITS = random.normal(size=(3, 4)).astype("float32")


def log_softmax(z):
    return z - np.log(np.sum(np.exp(z.astype("float64")), axis=-1, keepdims=True))


def test_gumbel_is_least_for_equal_scores():
    nothing = {name: np.zeros((3, 4), "float32") for name in ("row_noise", "column_noise")}
    least = (math.log(4) + math.log(3)) / 2
    loss = GumbelContrastive()
    assert value_of(loss, np.full((3, 4), 7.0, "float32"), **nothing) == pytest.approx(least, rel=1e-6)
    wanted = -(np.mean(log_softmax(LOGITS)) + np.mean(log_softmax(LOGITS.T))) / 2
    assert value_of(loss, LOGITS + 3.0, **nothing) == pytest.approx(wanted, rel=1e-5) and wanted > least
    parts = [value_of(loss, LOGITS, **nothing, sample_weight=row) for row in np.eye(3, dtype="float32")]
    assert np.mean(parts) == pytest.approx(wanted, rel=1e-5)


def test_gumbel_noise_comes_from_the_seed():
    one, other = GumbelContrastive(seed=1), GumbelContrastive(seed=1)
    first = value_of(one, LOGITS)
    assert first == value_of(other, LOGITS) and first != value_of(one, LOGITS)
    noise = numpy(GumbelContrastive(seed=1)._gumbel(keras.ops.zeros((200, 200))))
    assert noise.mean() == pytest.approx(0.5772, abs=0.03) and noise.var() == pytest.approx(math.pi**2 / 6, abs=0.06)


def test_what_is_refused():
    with pytest.raises(ValueError, match="tau is -1.0; give a positive number"):
        GumbelContrastive(tau=-1.0)
