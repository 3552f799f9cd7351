"""What is counted in a batch."""

import numpy as np
import pytest
from keras import ops

from kzoo.training.metrics import in_batch_accuracy

ROWS = np.eye(4, dtype="float32")


def accuracy(*arrays):
    return float(in_batch_accuracy(*map(ops.convert_to_tensor, arrays)))


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_pair_that_is_not_finite_is_a_miss(value):
    assert accuracy(ROWS, ROWS) == 1.0
    bad = ROWS.copy()
    bad[:2] = value
    assert accuracy(bad, ROWS) == accuracy(ROWS, bad) == 0.5
    assert accuracy(np.full_like(ROWS, value), ROWS) == 0.0
