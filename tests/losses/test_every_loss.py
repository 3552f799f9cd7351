"""What holds for each loss, on the inputs of its golden cases: blocks, configs, half precision, degenerate batches."""

import keras
import numpy as np
import pytest
from golden_case import built, called_with, differentiated, parametrized
from largest import largest_tensor
from shared_case import numpy

import kzoo.losses
from kzoo.losses.pairwise import PairwiseLoss

pytestmark = pytest.mark.filterwarnings("ignore:InfoNCE received a batch of one")


def first_of_each(wanted=lambda loss: True):
    seen = set()
    cases = []
    for parameter in parametrized():
        name, _ = parameter.values
        if name not in seen and wanted(getattr(kzoo.losses, name)):
            seen.add(name)
            cases.append(pytest.param(*parameter.values, id=name))
    return cases


def is_pairwise(loss):
    return issubclass(loss, PairwiseLoss)


def tiled(case, least=96):
    """The inputs of a case with a batch so large that all its pairs are more than all its numbers; None if it has
    arrays of pairs, or tables, among its inputs."""
    rows = len(next(iter(case["inputs"].values())))
    arrays = {key: np.array(value) for key, value in case["inputs"].items()}
    times = -(-least // rows)
    if rows == 1 or "state" in case or any(array.ndim < 1 or len(array) != rows for array in arrays.values()):
        return None
    if any(array.shape[:2] == (rows, rows) for array in arrays.values()):
        return None
    return {key: np.concatenate([array] * times).tolist() for key, array in arrays.items()}


@pytest.mark.parametrize("name, case", first_of_each(is_pairwise))
def test_blocks_give_the_same_value_and_gradients(name, case):
    args, kwargs = called_with(case)
    value, gradients = differentiated(built(name, case), args, kwargs)(args)
    # of 6 rows, which most cases have, the last block is not full
    value_of_blocks, gradients_of_blocks = differentiated(built(name, case, block_size=4), args, kwargs)(args)
    assert value_of_blocks == pytest.approx(value, rel=1e-5, abs=1e-6)
    for one, other in zip(gradients, gradients_of_blocks, strict=True):
        np.testing.assert_allclose(other, one, rtol=1e-5, atol=1e-5 * max(1.0, np.abs(one).max()))


@pytest.mark.parametrize("name, case", first_of_each())
def test_config_round_trips(name, case):
    loss = built(name, case, name="mine")
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(loss))
    assert type(again) is type(loss) and again.term == "mine"
    assert again.get_config() == loss.get_config()
    args, kwargs = called_with(case)
    again.set_weights(loss.get_weights())
    np.testing.assert_allclose(numpy(again(*args, **kwargs)), numpy(loss(*args, **kwargs)), rtol=1e-6)


def has_state(name, case):
    return any(not variable.trainable for variable in built(name, case).variables)


@pytest.mark.parametrize("name, case", [each for each in first_of_each() if has_state(*each.values)])
def test_evaluation_leaves_the_state_alone(name, case):
    loss = built(name, case)
    before = loss.get_weights()
    args, kwargs = called_with(case)
    loss(*args, **kwargs)
    for old, new in zip(before, loss.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


@pytest.mark.parametrize("name, case", first_of_each())
def test_half_precision_inputs_are_computed_in_float32(name, case):
    loss = built(name, case)
    args, kwargs = called_with(case)
    half = [array.astype("float16") if array.dtype.kind == "f" else array for array in args]
    value = numpy(loss(*half, **kwargs))
    assert value.dtype == np.float32
    rounded = [array.astype("float32") if array.dtype.kind == "f" else array for array in half]
    np.testing.assert_allclose(value, numpy(loss(*rounded, **kwargs)), rtol=1e-5, atol=1e-6)


DEGENERATE = {
    "a zero vector": lambda array: np.concatenate([np.zeros_like(array[:1]), array[1:]]),
    "identical rows": lambda array: np.broadcast_to(array[:1], array.shape).copy(),
    "all zero": np.zeros_like,
    "huge": lambda array: 1e4 * array,
    "tiny": lambda array: 1e-4 * array,
}


@pytest.mark.parametrize("name, case", first_of_each())
def test_degenerate_batches_give_finite_values_and_gradients(name, case):
    args, kwargs = called_with(case)
    gradients_of = differentiated(built(name, case), args, kwargs)
    for what, change in DEGENERATE.items():
        value, gradients = gradients_of(
            [change(array) if array.dtype.kind == "f" and array.ndim > 1 else array for array in args]
        )
        assert np.isfinite(value) and all(np.isfinite(gradient).all() for gradient in gradients), what


def compares_rows(name, case):
    return tiled(case) and min(built(name, case).pairs(96)) >= 96  # and not rows with a few classes


@pytest.mark.parametrize("name, case", [each for each in first_of_each(is_pairwise) if compares_rows(*each.values)])
def test_blocks_never_hold_all_pairs(name, case):
    args, kwargs = called_with(case, tiled(case))
    rows = len(args[0])

    def largest(**arguments):
        loss = built(name, case, **arguments)
        return largest_tensor(lambda *tensors: loss(*tensors, *args[len(tensors) :], **kwargs), args[:1])

    of_all = largest()
    assert of_all >= rows**2 and largest(block_size=8) < 0.7 * of_all
