"""What holds for each loss: golden values and gradients, and on their inputs blocks, half precision, odd batches."""

from functools import cached_property

import keras
import numpy as np
import pytest
from golden_case import built, called_with, differentiated, parametrized
from largest import largest_tensor

import kzoo.losses
from kzoo.losses.parts.pairwise import PairwiseLoss

pytestmark = pytest.mark.filterwarnings("ignore:InfoNCE received a batch of one")
CASES = parametrized()
FIRST = list({parameter.values[0]: parameter for parameter in reversed(CASES)}.values())[::-1]  # of each loss
DEGENERATE = {
    "a zero vector": lambda array: np.concatenate([np.zeros_like(array[:1]), array[1:]]),
    "identical rows": lambda array: np.broadcast_to(array[:1], array.shape).copy(),
    "all zero": np.zeros_like,
    "huge": lambda array: 1e4 * array,
    "tiny": lambda array: 1e-4 * array,
}


class Subject:
    """A case, and its value and gradients as a function that jax compiles once."""

    def __init__(self, name, case):
        self.name, self.case = name, case
        self.pairwise = issubclass(getattr(kzoo.losses, name), PairwiseLoss)
        self.args, self.kwargs = called_with(case)

    @cached_property
    def compiled(self):
        return differentiated(built(self.name, self.case), self.args, self.kwargs)

    def gradients_of(self, args):
        return self.compiled(args, self.kwargs)


@pytest.fixture(scope="module", params=[each.values for each in FIRST], ids=[each.values[0] for each in FIRST])
def subject(request):  # of the module: all tests of one loss come one after the other
    return Subject(*request.param)


def assert_golden(subject):
    case = subject.case
    value, gradients = subject.gradients_of(subject.args)
    assert abs(value - case["expected"]) <= case.get("rtol", 1e-5) * max(1.0, abs(case["expected"]))
    for key, want in case.get("grads", {}).items():
        got = gradients[case["call"]["args"].index(key)]
        np.testing.assert_allclose(got, np.array(want), rtol=1e-4, atol=1e-6)


def test_golden_case(subject):
    assert_golden(subject)


@pytest.mark.one_other
@pytest.mark.parametrize("name, case", [each for each in CASES if each not in FIRST])
def test_further_golden_cases(name, case):
    assert_golden(Subject(name, case))


@pytest.mark.one_other
def test_blocks_give_the_same_value_and_gradients(subject):
    if subject.pairwise:
        value, gradients = subject.gradients_of(subject.args)
        # of 6 rows, which most cases have, the last block is not full
        loss = built(subject.name, subject.case, block_size=4)
        value_of_blocks, gradients_of_blocks = differentiated(loss, subject.args, subject.kwargs)(
            subject.args, subject.kwargs
        )
        assert value_of_blocks == pytest.approx(value, rel=1e-5, abs=1e-6)
        for one, other in zip(gradients, gradients_of_blocks, strict=True):
            np.testing.assert_allclose(other, one, rtol=1e-5, atol=1e-5 * max(1.0, np.abs(one).max()))
    else:
        with pytest.raises(TypeError, match="does not know the argument 'block_size'"):
            built(subject.name, subject.case, block_size=4)


@pytest.mark.one_other
def test_degenerate_batches_give_finite_values_and_gradients(subject):
    for what, change in DEGENERATE.items():
        value, gradients = subject.gradients_of(
            [change(array) if array.dtype.kind == "f" and array.ndim > 1 else array for array in subject.args]
        )
        assert np.isfinite(value) and all(np.isfinite(gradient).all() for gradient in gradients), what


@pytest.mark.one_other
def test_half_precision_inputs_are_computed_in_float32(subject):
    half = [array.astype("float16") if array.dtype.kind == "f" else array for array in subject.args]
    value, gradients = subject.gradients_of(half)
    rounded = [array.astype("float32") if array.dtype.kind == "f" else array for array in half]
    assert value == pytest.approx(subject.gradients_of(rounded)[0], rel=1e-5, abs=1e-6)
    assert all(np.isfinite(gradient).all() for gradient in gradients)


@pytest.mark.one_other
def test_config_and_state(subject):
    loss = built(subject.name, subject.case, name="mine")
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(loss))
    assert type(again) is type(loss) and again.term == "mine"
    assert again.get_config() == loss.get_config()
    assert [each.shape for each in again.get_weights()] == [each.shape for each in loss.get_weights()]
    if loss.non_trainable_variables:  # an evaluation leaves them alone
        before = loss.get_weights()
        loss(*subject.args, **subject.kwargs)
        for old, new in zip(before, loss.get_weights(), strict=True):
            np.testing.assert_array_equal(old, new)


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


def compares_rows(name, case):
    pairwise = issubclass(getattr(kzoo.losses, name), PairwiseLoss)
    return pairwise and tiled(case) and min(built(name, case).pairs(96)) >= 96  # and not rows with a few classes


@pytest.mark.one_other
@pytest.mark.parametrize("name, case", [each for each in FIRST if compares_rows(*each.values)])
def test_blocks_never_hold_all_pairs(name, case):
    args, kwargs = called_with(case, tiled(case))

    def largest(**arguments):
        loss = built(name, case, **arguments)
        return largest_tensor(lambda *tensors: loss(*tensors, *args[len(tensors) :], **kwargs), args[:1])

    of_all = largest()
    assert of_all >= len(args[0]) ** 2 and largest(block_size=8) < 0.7 * of_all
