"""NTXent and DecoupledContrastive: double loops, what ties one to the other, batches without a negative."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from naive_softmax import embeddings, log_sum, unit, value_of
from shared_case import value_and_gradients

from kzoo.losses import DecoupledContrastive, InfoNCE, LearnableTemperature, NTXent

WEIGHT = np.array([0.0, 1.0, 2.0, 0.5, 1.0, 3.0], "float32")


def anchors(a, b, temperature):
    """Of each anchor of both views: its sample, its positive logit, its negatives across views and within its own."""
    a, b = unit(a), unit(b)
    for x, y in ((a, b), (b, a)):
        for i in range(len(a)):
            others = [j for j in range(len(a)) if j != i]
            yield i, x[i] @ y[i] / temperature, *([x[i] @ z[j] / temperature for j in others] for z in (y, x))


def nt_xent_rows(a, b, temperature):
    rows = np.zeros(len(a))
    for i, positive, across, within in anchors(a, b, temperature):
        rows[i] += 0.5 * (log_sum([positive, *across, *within]) - positive)
    return rows


def decoupled_rows(a, b, temperature, sigma=None, intra_view=True):
    rows, w = np.zeros(len(a)), np.ones(len(a))
    if sigma:
        force = np.exp(np.sum(unit(a) * unit(b), axis=1) / sigma)
        w = 2.0 - len(a) * force / force.sum()
    for i, positive, across, within in anchors(a, b, temperature):
        rows[i] += 0.5 * (log_sum([*across, *(within if intra_view else [])]) - w[i] * positive)
    return rows


@pytest.mark.parametrize("block_size", [None, 4])
def test_sample_weights_weigh_both_anchors_of_a_sample(block_size):
    a, b = embeddings(6, 8)
    got = value_of(NTXent(0.3, block_size), a, b, sample_weight=WEIGHT)
    assert got == pytest.approx(np.average(nt_xent_rows(a, b, 0.3), weights=WEIGHT), rel=1e-5)
    for arguments in ({"sigma": 0.7}, {"sigma": 0.7, "intra_view": False}):
        got = value_of(DecoupledContrastive(0.3, block_size=block_size, **arguments), a, b, sample_weight=WEIGHT)
        want = np.average(decoupled_rows(a, b, 0.3, **arguments), weights=WEIGHT)
        assert got == pytest.approx(want, rel=1e-5)


@settings(max_examples=5, deadline=None)
@given(seed=st.integers(0, 1000), scale=st.floats(0.01, 100.0))
@pytest.mark.parametrize("loss", [NTXent(0.2), DecoupledContrastive(0.2, sigma=0.5)], ids=lambda loss: loss.term)
def test_invariants(loss, seed, scale):
    a, b = embeddings(6, 8, seed=seed)
    value = value_of(loss, a, b)
    order = np.random.default_rng(seed).permutation(len(a))
    for other in ((b, a), (a[order], b[order]), (np.float32(scale) * a, b)):
        assert value_of(loss, *other) == pytest.approx(value, rel=1e-4, abs=1e-5)


def test_an_anchor_of_nt_xent_is_the_softplus_of_its_decoupled_one():
    a, _ = embeddings(6, 8)
    for one_hot in np.eye(6, dtype="float32")[:2]:  # with equal views both anchors of a sample agree
        nt_xent, decoupled = (
            value_of(loss(0.4), a, a, sample_weight=one_hot) for loss in (NTXent, DecoupledContrastive)
        )
        assert nt_xent == pytest.approx(math.log1p(math.exp(decoupled)), rel=1e-5)


def test_across_modalities_it_lies_below_info_nce():
    a, b = embeddings(6, 8)
    assert value_of(DecoupledContrastive(0.3, intra_view=False), a, b) < value_of(InfoNCE(0.3), a, b)
    z = unit(a[:2]) @ unit(b[:2]).T / 0.3
    got = value_of(DecoupledContrastive(0.3, intra_view=False), a[:2], b[:2])
    assert got == pytest.approx((z[0, 1] + z[1, 0] - z[0, 0] - z[1, 1]) / 2, rel=1e-5)


def test_the_weights_of_dclw_get_no_gradient():
    a, b = embeddings(6, 8)
    w = 2.0 - 6 * np.exp(cosine := np.sum(unit(a) * unit(b), axis=1) / 0.5) / np.exp(cosine).sum()
    _, plain = value_and_gradients(DecoupledContrastive(0.3), [a, b])
    _, weighted = value_and_gradients(DecoupledContrastive(0.3, sigma=0.5), [a, b])
    length = np.linalg.norm(a, axis=1, keepdims=True)
    of_cosine = (unit(b) - np.sum(unit(a) * unit(b), axis=1, keepdims=True) * unit(a)) / length
    np.testing.assert_allclose(weighted[0] - plain[0], (1.0 - w)[:, None] * of_cosine / 0.3 / 6, rtol=1e-4, atol=1e-5)


def test_equal_views_and_a_batch_of_one():
    same = np.ones((6, 8), "float32")
    assert value_of(NTXent(), same, same) == pytest.approx(math.log(11), rel=1e-6)
    one = embeddings(1, 8)
    value, gradients = value_and_gradients(NTXent(), one)
    assert value == pytest.approx(0.0, abs=1e-6)
    assert all(np.abs(gradient).max() < 1e-6 for gradient in gradients)
    for arguments in ({"sigma": 0.5}, {"intra_view": False}):
        value, gradients = value_and_gradients(DecoupledContrastive(0.5, **arguments), one)
        assert value == pytest.approx(-float(np.sum(unit(one[0]) * unit(one[1]))) / 0.5, rel=1e-5)
        assert all(np.isfinite(gradient).all() for gradient in gradients)


@pytest.mark.parametrize("temperature", [1e-3, 1e4])
def test_extreme_temperatures_stay_finite(temperature):
    for loss in (NTXent(temperature), DecoupledContrastive(temperature, sigma=1e-3)):
        value, gradients = value_and_gradients(loss, embeddings(6, 8))
        assert np.isfinite(value) and all(np.isfinite(gradient).all() for gradient in gradients)


def test_temperatures_can_be_learned():
    a, b = embeddings(6, 8)
    loss = NTXent(LearnableTemperature(0.3))
    assert len(loss.trainable_variables) == 1
    assert value_of(loss, a, b) == pytest.approx(nt_xent_rows(a, b, 0.3).mean(), rel=1e-5)
    loss = DecoupledContrastive(LearnableTemperature(0.3), sigma=0.5)
    assert value_of(loss, a, b) == pytest.approx(decoupled_rows(a, b, 0.3, 0.5).mean(), rel=1e-5)


def test_pairs_and_negatives_of_two_views():
    assert NTXent().pairs(8) == (16, 16) and NTXent().negatives(8) == 14
    assert DecoupledContrastive().pairs(8) == (8, 16) and DecoupledContrastive().negatives(8) == 14
    across = DecoupledContrastive(intra_view=False)
    assert across.pairs(8) == (8, 8) and across.negatives(8) == 7


def test_sigma_must_be_positive():
    with pytest.raises(ValueError, match="sigma is 0.0; give a positive number"):
        DecoupledContrastive(sigma=0.0)
