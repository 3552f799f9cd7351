"""ArbitraryPairs against a double loop, with open and closed gates, and what it needs."""

import math

import numpy as np
import pytest
from naive_softmax import unit, value_of
from shared_case import numpy, value_and_gradients

from kzoo.losses import ArbitraryPairs, InfoNCE

VIEWS = list(np.random.default_rng(0).normal(size=(3, 5, 4)).astype("float32"))
WEIGHT = np.array([1.0, 0.0, 2.0, 0.5, 1.0], "float32")


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
