"""`log_sum_exp` and `embed` against numpy, with gradients, and the memory that the second one takes."""

import keras
import numpy as np
import pytest
from keras import ops
from shared_case import numpy, value_and_gradients

from kzoo.layers.numerics import NEGATIVE, embed, log_sum_exp

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


def test_rows_of_a_table_get_the_sum_of_their_gradients():
    rng = np.random.default_rng(1)
    table, ids = rng.normal(size=(7, 3)).astype("float32"), np.array([[1, 5, 1], [0, 1, 5]])
    upstream = rng.normal(size=(2, 3, 3)).astype("float32")
    found, (gradient,) = value_and_gradients(
        lambda table: ops.sum(embed(table, ops.convert_to_tensor(ids)) * ops.convert_to_tensor(upstream)), [table]
    )
    expected = np.zeros_like(table)
    np.add.at(expected, ids, upstream)
    np.testing.assert_allclose(found, np.sum(table[ids] * upstream), rtol=1e-5)
    np.testing.assert_allclose(gradient, expected, atol=1e-6)


@pytest.mark.skipif(keras.config.backend() != "jax", reason="the compiler of jax orders a step as it is written")
def test_a_step_holds_no_zeros_for_an_embedding_while_it_computes():
    import jax

    table, kernel, ids = np.ones((40_000, 64), "float32"), np.ones((64, 20_000), "float32"), np.arange(100)

    def step(table):
        gradient = jax.grad(lambda table: ops.sum(ops.square(ops.matmul(embed(table, ids), kernel))))(table)
        return table - 0.1 * gradient

    compiled = jax.jit(step, donate_argnums=0).lower(table).compile().memory_analysis()
    assert compiled.temp_size_in_bytes < 1.5 * table.nbytes  # activations of 8 MB, and 10 of the gradient
