"""SplitInvariantEquivariant: its parts are VICReg's, and what it needs."""

import numpy as np
import pytest
from shared_case import numpy

from kzoo.losses import SplitInvariantEquivariant, VICReg


def views(count=2, rows=6, dim=8, seed=0):
    return np.random.default_rng(seed).normal(size=(count, rows, dim)).astype("float32")


def test_the_parts_of_split_representations_are_those_of_vicreg():
    inv_a, inv_b, equi_a, equi_b, prediction = views(5)
    spread = VICReg(0.0, 10.0, 1.0)
    x, y = np.concatenate([inv_a, equi_a], axis=1), np.concatenate([inv_b, equi_b], axis=1)
    want = float(numpy(spread(x, y))) + float(numpy(VICReg(0.0, 5.0, 0.0)(prediction, prediction)))
    want += 10.0 * np.mean((inv_a - inv_b) ** 2) + 45.0 * np.mean((prediction - equi_b) ** 2)
    got = SplitInvariantEquivariant()(inv_a, inv_b, equi_a, equi_b, prediction=prediction)
    assert float(numpy(got)) == pytest.approx(want, rel=1e-5)


def test_one_row_has_no_variance():
    a, b, m = views(3, rows=1)
    with pytest.raises(ValueError, match="SplitInvariantEquivariant compares columns over a batch and needs 2"):
        SplitInvariantEquivariant()(a, b, a, b, prediction=m)


def test_what_the_caller_mixed_is_needed():
    with pytest.raises(ValueError, match=r"with SplitInvariantEquivariant\(prediction=...\)"):
        SplitInvariantEquivariant().from_tensors(dict.fromkeys(SplitInvariantEquivariant.default_inputs, 0))
