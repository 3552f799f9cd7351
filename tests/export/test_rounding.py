"""Rows that the last bit of the weights decides are left out where a graph is compared with its model."""

import logging

import keras
import numpy as np
import pytest
from shared_case import numpy

from kzoo.export.rounding import lazily
from kzoo.export.verify import ExportError, worst_difference

BOUND = 2e-5
ROWS = np.array([[1.0, -1.0], [1.0, 1.0], [3.0, 1.0]], "float32")  # the first cancels


class Gate(keras.layers.Layer):
    """A sigmoid of a huge number: of 0 +- 1 for a row that cancels, 1 for the others."""

    def __init__(self):
        super().__init__()
        self.kernel = self.add_weight(shape=(2,), initializer=keras.initializers.Constant(1e7 / 3), name="kernel")

    def call(self, x):
        return {"gates": keras.ops.sigmoid(keras.ops.sum(x * self.kernel, axis=-1, keepdims=True))}


def compared(rows, moved):
    """The comparison of a layer with numbers that are `moved` from its own."""
    gate = Gate()

    def asked():
        return [{name: numpy(value) for name, value in gate(rows).items()}]

    before = numpy(gate.kernel)
    got = [{"gates": asked()[0]["gates"] + np.array(moved, "float32")[:, None]}]
    worst = worst_difference(asked(), got, BOUND, "the gate", lazily(gate, asked, BOUND, "float32"))
    np.testing.assert_array_equal(numpy(gate.kernel), before)
    return worst


def test_a_row_that_rounding_decides_is_left_out(caplog):
    with caplog.at_level(logging.WARNING, "kzoo"):
        assert compared(ROWS, [0.2, 1e-6, 0.0]) == pytest.approx(1e-6, rel=0.1)
    assert "the gate: 1 of 3 rows, which differ by up to 2.0e-01, were left out of the comparison" in caplog.text


@pytest.mark.parametrize(
    "rows, moved",
    [
        (ROWS, [0.2, 1e-4, 0.0]),  # one of the others differs, too
        (ROWS, [0.2, 0.0, float("nan")]),
        (ROWS, [float("nan"), 0.0, 0.0]),
        (ROWS[[0, 0, 1]], [0.2, 0.2, 0.0]),  # more than half would be left out
    ],
)
def test_no_other_difference_is_forgiven(rows, moved):
    with pytest.raises(ExportError, match="at batch 3 the output gates differs from the model"):
        compared(rows, moved)


def test_who_sets_no_rounding_compares_all_rows():
    with pytest.raises(ExportError, match=r"differs from the model by 2.00e-01, more than the bound 2e-05"):
        worst_difference([{"y": np.zeros((2, 1))}], [{"y": np.array([[0.2], [0.0]])}], BOUND, "the gate")
