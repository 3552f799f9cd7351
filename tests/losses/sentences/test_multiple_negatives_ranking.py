"""MultipleNegativesRanking against a double loop, its invariants, small batches, errors."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from naive_softmax import log_sum
from shared_case import numpy, value_and_gradients

from kzoo.losses import MultipleNegativesRanking


def tensors(count, rows=5, dim=4, seed=0):
    return np.random.default_rng(seed).normal(size=(count, rows, dim)).astype("float32")


def value(result):
    return float(numpy(result))


def cosine(x, y):
    return float(x @ y / np.sqrt((x @ x) * (y @ y)))


def naive(a, candidates, scale, own_hard=0.0):
    values = []
    for i in range(len(a)):
        z = [scale * cosine(a[i], c) for c in candidates]
        if own_hard:
            z[len(a) + i] += own_hard
        values.append(log_sum(z) - z[i])
    return np.array(values)


def test_multiple_negatives_equal_a_double_loop():
    a, b, c, d = tensors(4)
    d = d[:3]  # negatives may be any number
    forward, back = naive(a, [*b, *c, *d], 20.0), naive(b, a, 20.0)
    assert value(MultipleNegativesRanking()(a, b, c, d)) == pytest.approx(forward.mean(), rel=1e-5)
    both = MultipleNegativesRanking(symmetric=True)
    assert value(both(a, b, c, d)) == pytest.approx((forward + back).mean() / 2, rel=1e-5)
    blocks = MultipleNegativesRanking(symmetric=True, block_size=2)
    weight = np.array([1.0, 0.0, 2.0, 0.5, 1.0], "float32")
    for loss in (both, blocks):  # a row of weight 0 still is a negative
        expected = np.average((forward + back) / 2, weights=weight)
        assert value(loss(a, b, c, d, sample_weight=weight)) == pytest.approx(expected, rel=1e-5)


@settings(max_examples=5, deadline=None)
@given(seed=st.integers(0, 1000), scale=st.floats(0.01, 100.0))
def test_multiple_negatives_invariants(seed, scale):
    a, b = tensors(2, seed=seed)
    loss = MultipleNegativesRanking(5.0)
    order = np.random.default_rng(seed).permutation(len(a))
    expected = pytest.approx(value(loss(a, b)), rel=1e-4, abs=1e-5)
    assert value(loss(a[order], b[order])) == expected
    assert value(loss(np.float32(scale) * a, b)) == expected
    assert value(loss(np.ones_like(a), np.ones_like(a), np.ones_like(a))) == pytest.approx(math.log(10), rel=1e-5)


def test_what_a_sentence_is_told_apart_from():
    assert MultipleNegativesRanking().negatives(8) == 7
    assert MultipleNegativesRanking(inputs=("a", "b", "c", "d")).negatives(8) == 23


@pytest.mark.parametrize("rows", [1, 2])
def test_small_batches_are_finite(rows):
    a, b = tensors(2, rows=rows)
    result, gradients = value_and_gradients(MultipleNegativesRanking(symmetric=True), [a, b])
    assert np.isfinite(result) and all(np.isfinite(gradient).all() for gradient in gradients)
    if rows == 1:
        assert result == pytest.approx(0.0, abs=1e-6)


@pytest.mark.parametrize(
    "make, sentence",
    [
        (lambda: MultipleNegativesRanking(scale=0.0), "scale is 0.0; give a positive number"),
        (lambda: MultipleNegativesRanking(inputs=("a",)), "reads at least 2 tensors, but inputs names 1"),
    ],
)
def test_bad_arguments(make, sentence):
    with pytest.raises(ValueError, match=sentence):
        make()
