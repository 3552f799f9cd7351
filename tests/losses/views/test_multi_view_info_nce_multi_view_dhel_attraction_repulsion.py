"""Losses of many views of one thing: against loops, their invariants and what they refuse."""

import math

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from naive_softmax import value_of
from shared_case import numpy, value_and_gradients

from kzoo.losses import AttractionRepulsion, LearnableTemperature, MultiViewDHEL, MultiViewInfoNCE

LOSSES = [MultiViewInfoNCE(), MultiViewDHEL(), AttractionRepulsion()]
NAMES = ("view_1", "view_2", "view_3", "view_4")


def views(count, rows=3, dim=5, seed=0):
    return list(np.random.default_rng(seed).normal(size=(count, rows, dim)).astype("float32"))


def unit(arrays):
    return [a / np.linalg.norm(a, axis=1, keepdims=True) for a in np.array(arrays, "float64")]


def log_sum(values):
    return math.log(math.fsum(math.exp(v) for v in values))


def info_nce(arrays, t):
    v, total = unit(arrays), 0.0
    count, rows = range(len(v)), range(len(v[0]))
    for i in rows:
        positives = [v[x][i] @ v[y][i] / t for x in count for y in count if x != y]
        every = [v[x][i] @ v[y][j] / t for x in count for y in count for j in rows if (y, j) != (x, i)]
        total += log_sum(every) - log_sum(positives)
    return total / len(rows)


def dhel(arrays, t):
    v, total = unit(arrays), 0.0
    count, rows = range(len(v)), range(len(v[0]))
    for i in rows:
        total += sum(log_sum([v[x][i] @ v[x][j] / t for j in rows if j != i]) for x in count)
        total -= log_sum([v[x][i] @ v[y][i] / t for x in count for y in count if x < y])
    return total / len(rows)


def weighted(distances, tau):
    weights = [math.exp(tau * d) for d in distances]
    return sum(w * d for w, d in zip(weights, distances)) / sum(weights)


def attraction_repulsion(arrays, alpha, beta, tau_pos, tau_neg):
    v = unit(arrays)
    count, rows = range(len(v)), range(len(v[0]))

    def d(x, y):
        return float(np.sum((x - y) ** 2))

    pull = [weighted([d(v[x][i], v[y][i]) for y in count if y != x], tau_pos) for x in count for i in rows]
    push = [
        weighted([d(v[x][i], v[y][j]) for j in rows if j != i], -tau_neg)
        for x in count
        for y in count
        if x < y
        for i in rows
    ]
    return alpha * np.mean(pull) - beta * np.mean(push)


def test_four_views_equal_loops():
    arrays = views(4)
    assert value_of(MultiViewInfoNCE(0.3), *arrays) == pytest.approx(info_nce(arrays, 0.3), rel=2e-6)
    assert value_of(MultiViewDHEL(LearnableTemperature(0.3)), *arrays) == pytest.approx(dhel(arrays, 0.3), rel=2e-6)
    cacr = AttractionRepulsion(0.7, 1.3, 2.0, 3.0)
    assert value_of(cacr, *arrays) == pytest.approx(attraction_repulsion(arrays, 0.7, 1.3, 2.0, 3.0), abs=2e-6)


@settings(max_examples=3, deadline=None)
@given(seed=st.integers(0, 1000), factor=st.floats(0.01, 100.0))
def test_invariants(seed, factor):
    a, b, c = views(3, seed=seed)
    order = np.random.default_rng(seed).permutation(3)
    turn, _ = np.linalg.qr(np.random.default_rng(seed).normal(size=(5, 5)))
    turn = turn.astype("float32")
    for loss in LOSSES:
        wanted = pytest.approx(value_of(loss, a, b, c), rel=1e-4, abs=1e-5)
        assert value_of(loss, a[order], b[order], c[order]) == wanted
        assert value_of(loss, a, np.float32(factor) * b, c) == wanted
        assert value_of(loss, a @ turn, b @ turn, c @ turn) == wanted
        if loss is not LOSSES[2]:
            assert value_of(loss, b, c, a) == wanted
    attraction = AttractionRepulsion(beta=0.0)
    assert value_of(attraction, b, c, a) == pytest.approx(value_of(attraction, a, b, c), rel=1e-4)


def test_attraction_of_two_views_is_their_mean_distance():
    a, b = views(2)
    distances = np.sum((unit([a])[0] - unit([b])[0]) ** 2, axis=1)
    assert value_of(AttractionRepulsion(beta=0.0, tau_pos=5.0), a, b) == pytest.approx(np.mean(distances), rel=1e-5)


def test_weights_may_be_constants():
    a, b = views(2)
    whole, held = AttractionRepulsion(), AttractionRepulsion(detach_weights=True)
    assert value_of(whole, a, b) == value_of(held, a, b)
    (_, (through, _)), (_, (around, _)) = (value_and_gradients(loss, [a, b]) for loss in (whole, held))
    assert np.abs(through - around).max() > 1e-3


def test_a_batch_of_one_has_nothing_to_repel():
    a, b = views(2, rows=1)
    cosine = float(np.sum(unit([a])[0] * unit([b])[0]))
    assert value_of(MultiViewInfoNCE(), a, b) == pytest.approx(0.0, abs=1e-6)
    assert value_of(MultiViewDHEL(), a, b) == pytest.approx(-cosine / 0.2, rel=1e-5)
    assert value_of(AttractionRepulsion(), a, b) == pytest.approx(2.0 - 2.0 * cosine, rel=1e-5)


EXTREME = [MultiViewInfoNCE(1e-4), MultiViewDHEL(1e-4), AttractionRepulsion(tau_pos=1e4, tau_neg=1e4)]


@pytest.mark.parametrize("loss, rows", [(loss, 1) for loss in LOSSES] + [(loss, 2) for loss in EXTREME])
def test_small_batches_and_extreme_temperatures_stay_finite(loss, rows):
    a, c = views(2, rows)
    got, gradients = value_and_gradients(loss, [a, a.copy(), c])
    assert np.isfinite(got) and all(np.isfinite(gradient).all() for gradient in gradients)


@pytest.mark.parametrize("loss", [MultiViewInfoNCE, MultiViewDHEL, AttractionRepulsion])
def test_any_number_is_read_by_name_and_rows_take_weights(loss):
    arrays = views(4)
    named = loss(inputs=NAMES, block_size=2)
    tensors = dict(zip(NAMES, map(keras.ops.convert_to_tensor, arrays)))
    parts = [named.from_tensors(tensors | {"sample_weight": row})[0] for row in np.eye(3, dtype="float32")]
    assert np.mean([float(numpy(part)) for part in parts]) == pytest.approx(value_of(loss(), *arrays), rel=1e-5)
    assert named.pairs(8)[0] == 8 and named.negatives(8) == (28 if loss is MultiViewInfoNCE else 7)


@pytest.mark.parametrize(
    "call, sentence",
    [
        (lambda a: MultiViewInfoNCE(temperature=0.0), "give a positive number"),
        (lambda a: MultiViewDHEL(inputs=("view_1",)), "reads at least 2 tensors, but inputs names 1"),
        (lambda a: AttractionRepulsion()(a), "AttractionRepulsion reads at least 2 tensors, but was called with 1"),
        (
            lambda a: MultiViewInfoNCE()(a, a[:2]),
            r"as \(batch, dim\), but got views \(3, 5\), \(2, 5\); they must agree in batch",
        ),
    ],
)
def test_what_is_refused(call, sentence):
    with pytest.raises(ValueError, match=sentence):
        call(views(1)[0])
