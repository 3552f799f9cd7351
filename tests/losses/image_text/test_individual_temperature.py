"""IndividualTemperature: its gradient, its tables, inside compiled steps."""

import keras
import numpy as np
import pytest
from shared_case import numpy, value_and_gradients

from kzoo.losses import IndividualTemperature, InfoNCE

TABLES = [f"{name}_{side}" for name in ("temperature", "s", "shift", "u") for side in "ab"]


def embeddings(rows=4, dim=5, seed=0):
    return np.random.default_rng(seed).normal(size=(2, rows, dim)).astype("float32")


def tables(loss):
    return {name: numpy(getattr(loss, name)).copy() for name in TABLES}


def test_gradient_without_memory_is_that_of_info_nce():
    a, b = embeddings()
    loss = IndividualTemperature(9, temperature=0.3, gamma=1.0)
    _, got = value_and_gradients(lambda x, y: loss(x, y, ids=np.array([3, 1, 8, 5])), [a, b])
    _, wanted = value_and_gradients(InfoNCE(0.3), [a, b])
    for one, other in zip(got, wanted):
        np.testing.assert_allclose(one, 2 * 0.3 * other, rtol=1e-4, atol=1e-6)


def test_only_samples_of_the_batch_are_updated():
    a, b = embeddings()
    loss, ids = IndividualTemperature(9, eta=0.01), np.array([3, 1, 8, 5])
    before = tables(loss)
    loss(a, b, ids=ids, training=True)
    after = tables(loss)
    for name in TABLES:
        changed = before[name] != after[name]
        assert not np.delete(changed, ids).any()
        assert changed[ids].all() or name.startswith(("temperature", "shift"))  # clipped, or 0 where none is nearer
    assert (after["temperature_a"] != before["temperature_a"]).any()


def test_the_radius_moves_temperatures_only():
    a, b = embeddings()
    losses = [IndividualTemperature(4, temperature=0.5, rho=rho, eta=0.1) for rho in (0.1, 2.0)]
    values = [float(numpy(loss(a, b, ids=np.arange(4), training=True))) for loss in losses]
    assert values[0] == values[1]
    one, other = map(tables, losses)
    np.testing.assert_array_equal(one["s_a"], other["s_a"])
    assert (one["temperature_a"] >= other["temperature_a"]).all()
    assert (one["temperature_a"] != other["temperature_a"]).any()


def test_a_sample_that_stands_twice_keeps_the_mean():
    a, b = embeddings()
    twice, once = IndividualTemperature(3, temperature=0.5), IndividualTemperature(4, temperature=0.5)
    twice(a, b, ids=np.array([0, 2, 2, 1]), training=True)
    once(a, b, ids=np.arange(4), training=True)
    for name in TABLES:
        mixed, own = tables(twice)[name], tables(once)[name]
        np.testing.assert_allclose(mixed, [own[0], own[3], (own[1] + own[2]) / 2], rtol=1e-6)


def test_weights_and_identical_rows():
    a, b = embeddings()
    loss = IndividualTemperature(4, temperature=0.5)
    rows = np.eye(4, dtype="float32")
    parts = [float(numpy(loss(a, b, ids=np.arange(4), sample_weight=row))) for row in rows]
    assert np.mean(parts) == pytest.approx(float(numpy(loss(a, b, ids=np.arange(4)))), rel=1e-5)
    same = np.ones_like(a)
    for _ in range(2):
        assert abs(float(numpy(loss(same, same, ids=np.arange(4), training=True)))) < 1e-5
    assert all(np.isfinite(table).all() for table in tables(loss).values())


@pytest.mark.every_backend
def test_compiled_steps_update_the_tables():
    a, b = embeddings()
    eager, compiled = (IndividualTemperature(6, eta=0.1, block_size=size) for size in (None, 3))
    ids = np.array([4, 0, 1, 5])
    wanted = [float(numpy(eager(a, b, ids=ids, training=True))) for _ in range(2)]
    got = compiled_steps(compiled, (a, b, ids), 2)
    np.testing.assert_allclose(got, wanted, rtol=1e-5)
    for name, table in tables(eager).items():
        np.testing.assert_allclose(tables(compiled)[name], table, rtol=1e-4, atol=1e-5)


def compiled_steps(loss, arrays, count):
    """Values of `count` training steps, compiled where the backend compiles, with a batch it does not know."""
    if keras.config.backend() == "jax":
        import jax

        @jax.jit
        def step(state, a, b, ids):
            return loss.stateless_call([], state, a, b, ids=ids, training=True)

        values, state = [], [variable.value for variable in loss.non_trainable_variables]
        for _ in range(count):
            value, state = step(state, *arrays)
            values.append(float(value))
        for variable, value in zip(loss.non_trainable_variables, state):
            variable.assign(value)
        return values
    if keras.config.backend() == "tensorflow":
        import tensorflow as tf

        shapes = [tf.TensorSpec([None, *array.shape[1:]], array.dtype) for array in arrays]
        step = tf.function(lambda a, b, ids: loss(a, b, ids=ids, training=True), input_signature=shapes)
        return [float(step(*arrays)) for _ in range(count)]
    return [float(numpy(loss(*arrays[:2], ids=arrays[2], training=True))) for _ in range(count)]


@pytest.mark.parametrize(
    "arguments, sentence",
    [
        ({"gamma": 0.0}, r"gamma is 0.0; give a number in \(0, 1\]"),
        ({"temperature": 2.0}, "temperature 2.0 lies outside the bounds 0.005 and 1.0"),
    ],
)
def test_bad_arguments(arguments, sentence):
    with pytest.raises(ValueError, match=sentence):
        IndividualTemperature(4, **arguments)


def test_a_batch_of_one_is_refused():
    with pytest.raises(ValueError, match="but the batch is one row; use 2"):
        IndividualTemperature(4)(*embeddings(1), ids=np.zeros(1, "int32"))
