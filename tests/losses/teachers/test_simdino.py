"""SimDINO: batches that are spread, one row, errors."""

import math

import numpy as np
import pytest
from shared_case import numpy, value_and_gradients

from kzoo.losses import SimDINO


def arrays(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype("float32")


def test_one_row_of_views_is_finite():
    student, teacher = arrays(2, 1, 5), arrays(1, 1, 5, seed=1)
    value, (_, of_teacher) = value_and_gradients(SimDINO(), [student, teacher])
    assert np.isfinite(value) and not of_teacher.any()


def test_sim_dino_prefers_spread_batches():
    same, spread = np.ones((2, 4, 4), "float32"), np.stack([np.eye(4, dtype="float32")] * 2)
    assert float(numpy(SimDINO(0.5)(spread, spread))) == pytest.approx(-0.5 - 0.25 * 4 * math.log(3), rel=1e-5)
    assert float(numpy(SimDINO(0.5)(same, same))) == pytest.approx(-0.5 - 0.25 * math.log(9), rel=1e-5)


def test_what_cannot_be_computed_is_refused():
    with pytest.raises(ValueError, match="SimDINO received 2 views of the student and 3 of the"):
        SimDINO()(arrays(2, 3, 5), arrays(3, 3, 5))
