"""`log_sum_exp` against numpy, with gradients, where entries are left out and where numbers are large."""

import numpy as np
import pytest
from keras import ops
from shared_case import numpy, value_and_gradients

from kzoo.layers.numerics import NEGATIVE, log_sum_exp

Z = np.random.default_rng(0).normal(size=(3, 5)).astype("float32")
CASES = {
    "plain": Z,
    "large": 1000.0 * Z,
    "left out": np.where(np.arange(15).reshape(3, 5) % 2, Z, NEGATIVE).astype("float32"),
}


@pytest.mark.parametrize("what", CASES)
@pytest.mark.parametrize("axis", [0, 1, -1])
def test_log_sum_exp_and_its_gradient(what, axis):
    z = CASES[what].astype("float64")
    largest = z.max(axis=axis, keepdims=True)
    want = largest + np.log(np.sum(np.exp(z - largest), axis=axis, keepdims=True))
    np.testing.assert_allclose(numpy(log_sum_exp(CASES[what], axis, keepdims=True)), want, rtol=1e-5)
    np.testing.assert_allclose(numpy(log_sum_exp(CASES[what], axis)), want.squeeze(axis), rtol=1e-5)
    _, (gradient,) = value_and_gradients(lambda z: ops.sum(log_sum_exp(z, axis)), [CASES[what]])
    np.testing.assert_allclose(gradient, np.exp(z - want), rtol=1e-4, atol=1e-6)


def test_where_all_is_left_out():
    value, (gradient,) = value_and_gradients(lambda z: log_sum_exp(z, 0), [np.full((4,), NEGATIVE, "float32")])
    assert value == pytest.approx(NEGATIVE) and np.isfinite(gradient).all()
