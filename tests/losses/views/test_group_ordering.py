"""Groups in order, and pairs of any classes: against a sort with its matrix and against a double loop."""

import math

import numpy as np
import pytest
from naive_softmax import unit, value_of
from shared_case import numpy, value_and_gradients

from kzoo.losses import ArbitraryPairs, GroupOrdering, InfoNCE

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


def naive_pairs(a, b, gates, temperature):
    rows = np.zeros(len(a))
    for x, y in ((a, b), (b, a)):
        for i, gate in enumerate(gates):
            e = [math.exp(unit(gate * x[i]) @ unit(gate * y[j]) / temperature) for j in range(len(a))]
            rows[i] -= 0.5 * math.log(e[i] / sum(e))
    return rows


@pytest.mark.parametrize("block_size", [None, 2])
def test_gates_come_from_both_labels_in_either_order(block_size):
    a, b = VIEWS[:2]
    loss = ArbitraryPairs(6, 4, label_dim=3, hidden=7, temperature=0.5, block_size=block_size)
    loss.label_table.assign(np.random.default_rng(1).normal(size=(6, 3)))
    one, other = np.array([0, 5, 2, 3, 1]), np.array([4, 5, 0, 3, 2])
    table = numpy(loss.label_table)
    hidden = np.maximum((table[one] + table[other]) / 2 @ numpy(loss.hidden_layer.kernel), 0.0)
    gates = 1.0 / (1.0 + np.exp(-hidden @ numpy(loss.gate_layer.kernel)))
    rows = naive_pairs(a, b, gates, 0.5)
    got = value_of(loss, a, b, labels_a=one, labels_b=other, sample_weight=WEIGHT)
    assert got == pytest.approx(np.average(rows, weights=WEIGHT), rel=1e-4)
    assert value_of(loss, a, b, labels_a=other, labels_b=one) == pytest.approx(rows.mean(), rel=1e-4)
    assert len(loss.trainable_variables) == 5


def test_open_gates_are_info_nce_and_their_length_does_not_count():
    a, b = VIEWS[:2]
    plain = value_of(InfoNCE(0.1), a, b)
    assert value_of(ArbitraryPairs(), a, b, gates=np.full((5, 4), 0.5)) == pytest.approx(plain, rel=1e-5)
    gates = np.random.default_rng(2).uniform(0.1, 1.0, (5, 4)).astype("float32")
    scaled = gates * np.array([[1e-3], [1.0], [50.0], [1.0], [0.2]], "float32")
    assert value_of(ArbitraryPairs(), a, b, gates=scaled) == pytest.approx(
        value_of(ArbitraryPairs(), a, b, gates=gates), rel=1e-4
    )


def test_closed_gates_are_finite():
    gates = np.zeros((5, 4), "float32")
    value, gradients = value_and_gradients(lambda a, b: ArbitraryPairs()(a, b, gates=gates), VIEWS[:2])
    assert value == pytest.approx(math.log(5)) and all(np.isfinite(gradient).all() for gradient in gradients)


def test_pairs_without_gates_and_labels():
    with pytest.raises(ValueError, match="num_classes=3 and dim=None go together"):
        ArbitraryPairs(3)
    with pytest.raises(ValueError, match="without num_classes; give gates, or num_classes, dim and both labels"):
        ArbitraryPairs()(*VIEWS[:2], labels_a=np.zeros(5), labels_b=np.zeros(5))
    with pytest.raises(ValueError, match="not both; give gates"):
        ArbitraryPairs(3, 4)(*VIEWS[:2], labels_a=np.zeros(5))
