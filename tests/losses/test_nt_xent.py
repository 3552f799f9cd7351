"""NTXent and DecoupledContrastive: double loops, what ties one to the other, batches without a negative."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from shared_case import numpy, value_and_gradients

from kzoo.losses import LearnableTemperature, NTXent


def views(rows=4, dim=5, seed=0):
    return np.random.default_rng(seed).normal(size=(2, rows, dim)).astype("float32")


def unit(x):
    return x / np.linalg.norm(x, axis=-1, keepdims=True)


def log_sum(values):
    return max(values) + math.log(sum(math.exp(v - max(values)) for v in values))


def nt_xent_rows(a, b, temperature):
    """One value per sample, of both its anchors."""
    a, b, rows = unit(a), unit(b), np.zeros(len(a))
    for x, y in ((a, b), (b, a)):
        for i in range(len(a)):
            others = [float(x[i] @ x[j]) / temperature for j in range(len(a)) if j != i]
            across = [float(x[i] @ y[j]) / temperature for j in range(len(a))]
            rows[i] += 0.5 * (log_sum(others + across) - across[i])
    return rows


def test_sample_weights_weigh_both_anchors_of_a_sample():
    a, b = views()
    weight = np.array([0.0, 1.0, 2.0, 0.5], "float32")
    want = np.average(nt_xent_rows(a, b, 0.3), weights=weight)
    for block_size in (None, 3):
        assert float(numpy(NTXent(0.3, block_size)(a, b, sample_weight=weight))) == pytest.approx(want, rel=1e-5)


@settings(max_examples=8, deadline=None)
@given(seed=st.integers(0, 1000), scale=st.floats(0.01, 100.0))
def test_nt_xent_invariants(seed, scale):
    a, b = views(seed=seed)
    loss = NTXent(0.2)
    value = float(numpy(loss(a, b)))
    order = np.random.default_rng(seed).permutation(len(a))
    for other in ((b, a), (a[order], b[order]), (np.float32(scale) * a, b)):
        assert float(numpy(loss(*other))) == pytest.approx(value, rel=1e-4, abs=1e-5)


def test_equal_views_and_a_batch_of_one():
    same = np.ones((3, 5), "float32")
    assert float(numpy(NTXent()(same, same))) == pytest.approx(math.log(5), rel=1e-6)
    value, gradients = value_and_gradients(lambda x, y: NTXent()(x, y), list(views(1)))
    assert value == pytest.approx(0.0, abs=1e-6)
    assert all(np.abs(gradient).max() < 1e-6 for gradient in gradients)


@pytest.mark.parametrize("temperature", [1e-3, 1e4])
def test_extreme_temperatures_stay_finite(temperature):
    value, gradients = value_and_gradients(lambda x, y: NTXent(temperature)(x, y), list(views()))
    assert np.isfinite(value) and all(np.isfinite(gradient).all() for gradient in gradients)


def test_its_temperature_can_be_learned():
    loss = NTXent(LearnableTemperature(0.3))
    assert len(loss.trainable_variables) == 1
    assert float(numpy(loss(*views()))) == pytest.approx(nt_xent_rows(*views(), 0.3).mean(), rel=1e-5)


def test_pairs_and_negatives_of_two_views():
    assert NTXent().pairs(8) == (16, 16) and NTXent().negatives(8) == 14
