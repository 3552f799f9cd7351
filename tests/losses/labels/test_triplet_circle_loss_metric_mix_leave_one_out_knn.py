"""Losses of embeddings with labels against double loops; batches without positives, negatives or neighbours."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from naive_softmax import value_of
from shared_case import numpy, value_and_gradients

from kzoo.losses import CircleLoss, LeaveOneOutKNN, MetricMix, Triplet

LABELS = np.array([0, 1, 0, 2, 1, 0, 3])
WEIGHT = np.array([1.0, 0.0, 2.0, 1.0, 0.5, 1.0, 1.0], "float32")
UNIQUE = np.arange(7)
LABELLED = {
    "triplet": Triplet(),
    "circle": CircleLoss(gamma=8.0),
    "contrastive": MetricMix(num_negatives=2),
    "multi_similarity": MetricMix("multi_similarity", num_negatives=2),
    "knn": LeaveOneOutKNN(k=1),
}
FIXED = {"contrastive": {"lam": 0.3}, "multi_similarity": {"lam": 0.3}}


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


def naive_triplet(z, labels, weight, margin):
    total = count = 0.0
    for i in range(len(z)):
        same, other = sides(labels, i)
        for p in same:
            for n in other:
                gap = np.linalg.norm(z[i] - z[p]) - np.linalg.norm(z[i] - z[n]) + margin
                total, count = total + weight[i] * max(gap, 0.0), count + weight[i] * (gap > 0.0)
    return total / count


def naive_circle(z, labels, weight, m, gamma):
    values = []
    for i in range(len(z)):
        same, other = ([float(z[i] @ z[j]) for j in side] for side in sides(labels, i))
        if same and other:
            pull = log_sum([-gamma * max(1 + m - s, 0) * (s - 1 + m) for s in same])
            push = log_sum([gamma * max(s + m, 0) * (s - m) for s in other])
            values.append((math.log1p(math.exp(pull + push)), weight[i]))
    values, weights = np.array(values).T
    return np.average(values, weights=weights)


def naive_knn(z, labels, weight, k, temperature):
    values = []
    for i in range(len(z)):
        order = sorted((j for j in range(len(z)) if j != i), key=lambda j: -z[i] @ z[j])
        near, rest = order[:k], [j for j in order[k:] if labels[j] == labels[i]]
        if not any(labels[j] == labels[i] for j in near):
            near = near + rest[:1]
        of_label = [z[i] @ z[j] / temperature for j in near if labels[j] == labels[i]]
        if of_label:
            values.append((log_sum([z[i] @ z[j] / temperature for j in near]) - log_sum(of_label), weight[i]))
    values, weights = np.array(values).T
    return np.average(values, weights=weights)


@pytest.mark.parametrize("block_size", [None, 3])
def test_labelled_losses_equal_double_loops_with_weights(block_size):
    x, ones = embeddings(), np.ones(7, "float32")
    z = unit(x)
    for weight, given_weight in ((ones, None), (WEIGHT, WEIGHT)) if block_size is None else ((WEIGHT, WEIGHT),):
        keywords = {"labels": LABELS, "sample_weight": given_weight}
        for margin in (0.05, 1.5):  # few and nearly all triplets are violated
            got = value_of(Triplet(margin, block_size), x, **keywords)
            assert got == pytest.approx(naive_triplet(z, LABELS, weight, margin), rel=1e-5)
        got = value_of(CircleLoss(0.25, 8.0, block_size), x, **keywords)
        assert got == pytest.approx(naive_circle(z, LABELS, weight, 0.25, 8.0), rel=1e-5)
        for k in (1, 200):
            got = value_of(LeaveOneOutKNN(k, 0.2, block_size=block_size), x, **keywords)
            assert got == pytest.approx(naive_knn(z, LABELS, weight, k, 0.2), rel=1e-5)


def test_the_gradient_of_triplets_is_that_of_the_double_loop():
    x = embeddings(seed=3)
    _, (gradient,) = value_and_gradients(lambda a: Triplet(0.3)(a, labels=LABELS), [x])
    step, x64 = 1e-6, x.astype("float64")
    for place in ((0, 1), (4, 2)):
        moved = [x64.copy(), x64.copy()]
        moved[0][place] += step
        moved[1][place] -= step
        up, down = (naive_triplet(unit(each), LABELS, np.ones(7), 0.3) for each in moved)
        assert gradient[place] == pytest.approx((up - down) / (2 * step), rel=1e-3, abs=1e-6)


def test_as_many_neighbours_as_candidates_is_neighbourhood_component_analysis():
    z = unit(embeddings())
    values = []
    for i in range(7):
        same, other = sides(LABELS, i)
        if same:
            e = {j: math.exp(z[i] @ z[j] / 0.5) for j in same + other}
            values.append(-math.log(sum(e[j] for j in same) / sum(e.values())))
    assert value_of(LeaveOneOutKNN(6, 0.5), z, labels=LABELS) == pytest.approx(np.mean(values), rel=1e-5)


@pytest.mark.parametrize("name", LABELLED)
@settings(max_examples=3, deadline=None)
@given(seed=st.integers(0, 1000), scale=st.floats(0.01, 100.0))
def test_invariants(name, seed, scale):
    x, loss, keywords = embeddings(seed=seed), LABELLED[name], FIXED.get(name, {})
    value = value_of(loss, x, labels=LABELS, **keywords)
    order = np.random.default_rng(seed).permutation(7)
    assert value_of(loss, x[order], labels=LABELS[order], **keywords) == pytest.approx(value, rel=1e-4, abs=1e-5)
    assert value_of(loss, np.float32(scale) * x, labels=LABELS + 5, **keywords) == pytest.approx(
        value, rel=1e-4, abs=1e-5
    )


@pytest.mark.parametrize("name", LABELLED)
def test_without_positives_or_negatives_the_loss_is_nothing_and_finite(name):
    loss, keywords = LABELLED[name], FIXED.get(name, {})
    for labels in (UNIQUE, np.zeros(7, "int32"), UNIQUE[:1], UNIQUE[:2]):
        x = embeddings(len(labels))
        value, (gradient,) = value_and_gradients(lambda x, y=labels: loss(x, labels=y, **keywords), [x])
        assert value == pytest.approx(0.0, abs=1e-6) and np.isfinite(gradient).all()


def test_draws_follow_the_seed_and_stay_inside():
    x = embeddings()
    one, again, other = (value_of(MetricMix(seed=seed), x, labels=LABELS) for seed in (1, 1, 2))
    assert one == again != other


def test_mixing_with_share_one_keeps_the_positives():
    x = embeddings()
    clean = value_of(MetricMix("multi_similarity", mix_weight=0.0), x, labels=LABELS, lam=0.5)
    mixed = value_of(MetricMix("multi_similarity", mix_weight=1.0, num_negatives=1), x, labels=LABELS, lam=1.0) - clean
    z, values = unit(x), []
    for i in range(7):
        same, other = sides(LABELS, i)
        if same and other:
            values.append(math.log1p(sum(math.exp(-18.0 * (z[i] @ z[j] - 0.5)) for j in same)) / 18.0)
    assert mixed == pytest.approx(np.mean(values), rel=1e-4)


@pytest.mark.parametrize("block_size", [None, 2])
def test_a_queue_of_neighbours_is_read_then_filled(block_size):
    loss = LeaveOneOutKNN(k=2, temperature=0.5, queue_size=5, dim=5, block_size=block_size)
    x, labels = embeddings(3), np.array([0, 1, 0])
    assert value_of(loss, x, labels=labels, training=True) == 0.0  # nothing is in the queue yet
    np.testing.assert_allclose(numpy(loss.queue)[:3], unit(x), rtol=1e-5)
    assert numpy(loss.queue_labels).tolist() == [0, 1, 0, -1, -1] and int(numpy(loss.pointer)) == 3
    y, of_y = embeddings(2, seed=5), np.array([0, 1])
    s, values = unit(y) @ unit(x).T / 0.5, []
    for i in range(2):
        near = list(np.argsort(-s[i])[:2])
        if not any(labels[j] == of_y[i] for j in near):
            near.append(max((j for j in range(3) if labels[j] == of_y[i]), key=lambda j: s[i, j]))
        values.append(log_sum(s[i, near]) - log_sum([s[i, j] for j in near if labels[j] == of_y[i]]))
    value, (gradient,) = value_and_gradients(lambda a: loss(a, labels=of_y), [y])
    assert value == pytest.approx(np.mean(values), rel=1e-5) and np.isfinite(gradient).all() and gradient.any()
    assert value_of(loss, y, labels=of_y, training=True) == pytest.approx(value, rel=1e-5)
    assert numpy(loss.queue_labels).tolist() == [0, 1, 0, 0, 1] and int(numpy(loss.pointer)) == 0


def test_a_base_that_is_not_known():
    with pytest.raises(ValueError, match="base 'triplet' is unknown; choose one of contrastive, multi_similarity"):
        MetricMix("triplet")
