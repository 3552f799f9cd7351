"""Losses of rows with several right answers: loops, none and all of them right, far scores, errors."""

import math

import numpy as np
import pytest
from naive_softmax import unit, value_of
from shared_case import value_and_gradients

from kzoo.losses import DecoupledSoftmax, InfoNCE, SoftTopK

ROWS, LABELS, DIM = 5, 7, 4
RANDOM = np.random.default_rng(0)
A, B = RANDOM.normal(size=(2, ROWS, DIM)).astype("float32")
LABEL_EMBEDDINGS = RANDOM.normal(size=(LABELS, DIM)).astype("float32")
POSITIVES = RANDOM.random((ROWS, LABELS)) < 0.4
POSITIVES[1], POSITIVES[2] = False, True


def scores(temperature):
    return (unit(A) @ unit(LABEL_EMBEDDINGS).T / temperature).astype("float64")


def test_decoupled_softmax_equals_a_loop_with_rows_of_none_and_of_all():
    z, total = scores(0.3), 0.0
    for i in range(ROWS):
        right = [z[i, j] for j in range(LABELS) if POSITIVES[i, j]]
        wrong = sum(math.exp(z[i, j]) for j in range(LABELS) if not POSITIVES[i, j])
        total += sum(math.log(math.exp(each) + wrong) - each for each in right) / max(len(right), 1)
    got = value_of(DecoupledSoftmax(0.3), A, LABEL_EMBEDDINGS, positives=POSITIVES)
    assert got == pytest.approx(total / ROWS, rel=1e-6)


def test_decoupled_softmax_with_one_positive_is_info_nce():
    want = value_of(InfoNCE(0.05, direction="a_to_b"), A, B)
    assert value_of(DecoupledSoftmax(), A, B, positives=np.eye(ROWS, dtype=bool)) == pytest.approx(want, rel=1e-6)


@pytest.mark.parametrize("loss", [DecoupledSoftmax, lambda t: SoftTopK("num_positives", temperature=t)])
@pytest.mark.parametrize("positives", [np.zeros((ROWS, LABELS), bool), np.ones((ROWS, LABELS), bool)])
@pytest.mark.parametrize("temperature", [1e-3, 1.0, 1e3])
def test_no_positive_and_all_positive_cost_nothing(loss, positives, temperature):
    function = lambda a, b: loss(temperature)(a, b, positives=positives)  # noqa: E731
    cost, gradients = value_and_gradients(function, [A, LABEL_EMBEDDINGS])
    assert cost == pytest.approx(0.0, abs=1e-6)
    assert all(temperature * np.abs(gradient).max() < 1e-6 for gradient in gradients)


def threshold(z, k, alpha):
    low, high = -z.max() - 100.0, -z.min() + 100.0
    for _ in range(100):
        middle = 0.5 * (low + high)
        few = (1.0 / (1.0 + np.exp(-alpha * (z + middle)))).sum() < k
        low, high = (middle, high) if few else (low, middle)
    return low


def naive_top_k(z, positives, k, alpha):
    total = 0.0
    for i in range(len(z)):
        right = np.flatnonzero(positives[i])
        t = threshold(z[i], len(right) if k == "num_positives" else k, alpha)
        total += sum(math.log1p(math.exp(-alpha * (z[i, j] + t))) for j in right) / max(len(right), 1)
    return total / len(z)


@pytest.mark.parametrize("k, alpha", [(2, 1.0), (3.5, 2.5), ("num_positives", 0.5)])
def test_soft_top_k_equals_a_loop(k, alpha):
    positives = POSITIVES & (np.arange(LABELS) > 0)  # all positive has no threshold
    got = value_of(SoftTopK(k, alpha, 0.3), A, LABEL_EMBEDDINGS, positives=positives)
    assert got == pytest.approx(naive_top_k(scores(0.3), positives, k, alpha), rel=2e-6)


def test_the_gradient_of_soft_top_k_follows_the_threshold():
    loss = SoftTopK(2, 2.5, 0.3)
    _, (got,) = value_and_gradients(lambda a: loss(a, LABEL_EMBEDDINGS, positives=POSITIVES), [A])
    labels, step = unit(LABEL_EMBEDDINGS).astype("float64"), 1e-5
    for place in np.ndindex(2, DIM):
        moved = []
        for sign in (1, -1):
            a = A.astype("float64")
            a[place] += sign * step
            moved.append(naive_top_k(unit(a) @ labels.T / 0.3, POSITIVES, 2, 2.5))
        assert got[place] == pytest.approx((moved[0] - moved[1]) / (2 * step), rel=1e-4, abs=1e-6)


def test_soft_top_k_does_not_see_what_all_columns_of_a_row_share():
    labels = np.concatenate([unit(LABEL_EMBEDDINGS), np.ones((LABELS, 1))], axis=1)
    up, down = (np.concatenate([unit(A), np.full((ROWS, 1), last)], axis=1) for last in (1.0, -1.0))
    more, less = (value_of(SoftTopK(2), each, labels, positives=POSITIVES) for each in (up, down))
    assert more == pytest.approx(less, rel=1e-5)


def test_soft_top_k_stays_finite_where_the_scores_are_far_apart():
    loss = SoftTopK(2, temperature=1e-4)
    cost, gradients = value_and_gradients(lambda a, b: loss(a, b, positives=POSITIVES), [A, LABEL_EMBEDDINGS])
    assert np.isfinite(cost) and all(np.isfinite(gradient).all() for gradient in gradients)


@pytest.mark.parametrize(
    "call, sentence",
    [
        (lambda: SoftTopK(0), "k is 0; give a positive number, or 'num_positives'"),
        (lambda: SoftTopK("all"), "k 'all' is unknown; give a positive number, or 'num_positives'"),
        (lambda: SoftTopK(alpha=0.0), "alpha is 0.0; give a positive number"),
        (lambda: SoftTopK(7)(A, LABEL_EMBEDDINGS, positives=POSITIVES), "k=7 columns in, but there are 7; choose a sm"),
    ],
)
def test_bad_input(call, sentence):
    with pytest.raises(ValueError, match=sentence):
        call()
