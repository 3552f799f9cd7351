"""SupReMix against a triple loop, without a positive, and what it draws."""

import math

import numpy as np
import pytest
from naive_softmax import value_of
from shared_case import value_and_gradients

from kzoo.losses import SupReMix

TARGETS = np.array([1.0, 2.5, 1.0, 4.0, 3.0, 2.0, 3.0], "float32")


def embeddings(rows=7, dim=5, seed=0):
    return np.random.default_rng(seed).normal(size=(rows, dim)).astype("float32")


def unit(x):
    return x / np.maximum(np.linalg.norm(x, axis=-1, keepdims=True), 1e-12)


def log_sum(values):
    values = np.array(values, "float64")
    return values.max() + math.log(np.exp(values - values.max()).sum())


def sides(labels, i):
    same = [j for j in range(len(labels)) if j != i and labels[j] == labels[i]]
    return same, [j for j in range(len(labels)) if labels[j] != labels[i]]


def naive_mix(z, y, lam, window, temperature):
    values = []
    for i in range(len(z)):
        same, other = sides(y, i)
        positives = [z[j] for j in same]
        negatives = [(z[j], y[j]) for j in other]
        negatives += [(unit(lam[i] * z[i] + (1 - lam[i]) * z[j]), lam[i] * y[i] + (1 - lam[i]) * y[j]) for j in other]
        for j in other:
            for k in other:
                if y[j] < y[i] < y[k] and max(y[i] - y[j], y[k] - y[i]) <= window:
                    share = (y[k] - y[i]) / (y[k] - y[j])
                    positives.append(unit(share * z[j] + (1 - share) * z[k]))
        if positives:
            scores = [z[i] @ p / temperature for p in positives]
            weighted = [z[i] @ v / temperature + math.log(abs(y[i] - target) + 1) for v, target in negatives]
            values.append(log_sum(scores + weighted) - np.mean(scores))
    return np.mean(values)


@pytest.mark.parametrize("window", [None, 1.5])
def test_mixed_regression_equals_a_triple_loop_for_one_view_and_two(window):
    a, b, lam = embeddings(), embeddings(seed=1), np.linspace(0.1, 0.7, 7, dtype="float32")
    want = naive_mix(unit(a), TARGETS, lam, window or 99.0, 0.3)
    got = value_of(SupReMix(0.3, window), a, targets=TARGETS, lam=lam)
    assert got == pytest.approx(want, rel=1e-5)
    twice = naive_mix(unit(np.concatenate([a, b])), np.tile(TARGETS, 2), np.tile(lam, 2), window or 99.0, 0.3)
    two_views = SupReMix(0.3, window, block_size=5, inputs=("view_1", "view_2"))
    assert value_of(two_views, a, b, targets=TARGETS, lam=lam) == pytest.approx(twice, rel=1e-5)


def test_mixed_regression_without_a_positive_is_nothing():
    x = embeddings(2)
    value, (gradient,) = value_and_gradients(lambda a: SupReMix()(a, targets=TARGETS[:2]), [x])
    assert value == 0.0 and not gradient.any()


def test_draws_follow_the_seed_and_stay_inside():
    x = embeddings()
    one, again, other = (value_of(SupReMix(seed=seed), x, targets=TARGETS) for seed in (1, 1, 2))
    assert one == again != other
