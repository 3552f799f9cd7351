"""GroupOrdering against a sort with its matrix, orders that are right and wrong, what it needs."""

import math

import numpy as np
import pytest
from naive_softmax import unit, value_of
from shared_case import value_and_gradients

from kzoo.losses import GroupOrdering

VIEWS = list(np.random.default_rng(0).normal(size=(3, 5, 4)).astype("float32"))
WEIGHT = np.array([1.0, 0.0, 2.0, 0.5, 1.0], "float32")


def sorting_matrix(x, steepness):
    """`X[input, rank]` of the soft odd-even sort, as a product of matrices."""
    x, total = np.array(x), np.eye(len(x))
    for layer in range(len(x)):
        swap = np.eye(len(x))
        for i in range(layer % 2, len(x) - 1, 2):
            gate = math.atan(steepness * (x[i + 1] - x[i])) / math.pi + 0.5
            swap[i : i + 2, i : i + 2] = [[gate, 1 - gate], [1 - gate, gate]]
        x, total = swap @ x, total @ swap
    np.testing.assert_allclose(total.sum(axis=0), 1.0)
    np.testing.assert_allclose(total.sum(axis=1), 1.0)
    return total


def naive_ordering(views, negatives, steepness):
    rows = np.zeros(len(views[0]))
    for u, view in enumerate(map(unit, views)):
        for i in range(len(view)):
            positive = sorted(view[i] @ unit(other)[i] for w, other in enumerate(views) if w != u)
            negative = sorted(view[i] @ view[j] for j in range(len(view)) if j != i)[-negatives:]
            matrix = sorting_matrix(negative + positive, steepness)
            top, low = matrix[:, negatives:].sum(axis=1), matrix[:, :negatives].sum(axis=1)
            for chance, wanted in ((top, True), (low, False)):
                right = [p if (place >= negatives) == wanted else 1 - p for place, p in enumerate(chance)]
                rows[i] += 0.5 * np.mean(-np.log(right)) / len(views)
    return rows


@pytest.mark.parametrize("count, negatives, steepness", [(2, 4, 1.0), (3, 2, 5.0)])
def test_order_equals_the_product_of_the_sorting_matrices(count, negatives, steepness):
    views = VIEWS[:count]
    rows = naive_ordering(views, negatives, steepness)
    loss = GroupOrdering(negatives, steepness)
    assert value_of(loss, *views[::-1]) == pytest.approx(rows.mean(), rel=1e-5)
    assert value_of(loss, *views, sample_weight=WEIGHT) == pytest.approx(np.average(rows, weights=WEIGHT), rel=1e-5)


def test_a_right_order_costs_nothing_and_a_wrong_one_is_finite():
    right = VIEWS[0]
    assert value_of(GroupOrdering(4, 1e6), right, right) == pytest.approx(0.0, abs=1e-5)
    wrong = [np.ones_like(right), -np.ones_like(right)]
    value, gradients = value_and_gradients(GroupOrdering(4, 1e9), wrong)
    assert 10.0 < value <= 100.0 and all(np.isfinite(gradient).all() for gradient in gradients)


def test_only_the_anchor_is_moved_unless_asked():
    losses = GroupOrdering(4), GroupOrdering(4, stop_gradient=False)
    one, both = (value_and_gradients(loss, VIEWS[:2])[1][0] for loss in losses)
    assert not np.allclose(one, both, rtol=1e-2)


def test_order_needs_enough_rows_and_views():
    with pytest.raises(ValueError, match="num_negatives=5 others, but the batch has 5 rows; give at least 6"):
        GroupOrdering(5)(*VIEWS)
    with pytest.raises(ValueError, match="GroupOrdering reads at least 2 tensors, but got 1"):
        GroupOrdering(2)(VIEWS[0])
