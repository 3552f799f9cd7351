"""Arrays that become tensors."""

import keras
import numpy as np
import pytest
from shared_case import numpy

from kzoo.handed_over import Scratch, handed_over, memory_for, owned

NUMBERS = np.arange(1500 * 180, dtype="float32").reshape(1500, 180)  # more than a few strips, and a part of one


def read_only(array):
    found = array.copy()
    found.flags.writeable = False
    return found


FOUR_AXES = NUMBERS.reshape(18, 10, 50, 30)
CASES = {
    "in order": (np.copy, NUMBERS),
    "transposed": (lambda array: array.T.copy().T, NUMBERS),
    "every other": (lambda array: np.repeat(array, 2, axis=1)[:, ::2], NUMBERS),
    "four axes": (lambda array: array.transpose(2, 3, 1, 0).copy().transpose(3, 2, 0, 1), FOUR_AXES),
    "read only": (read_only, NUMBERS),
    "small": (lambda array: array.T.copy().T, NUMBERS[:2, :3]),
    "one number": (np.copy, NUMBERS[3, 4]),
    "none": (np.copy, NUMBERS[:0]),
    "whole numbers": (np.copy, NUMBERS.astype("int32")),
}


@pytest.mark.parametrize("case", CASES)
def test_a_tensor_has_the_numbers_of_its_array(case):
    make, wanted = CASES[case]
    array = make(np.asarray(wanted))
    assert np.array_equal(owned(array), wanted) and owned(array).flags.c_contiguous
    tensor = handed_over(array)
    assert np.array_equal(numpy(tensor), wanted) and tuple(tensor.shape) == wanted.shape
    assert keras.backend.standardize_dtype(tensor.dtype) == array.dtype.name
    half = handed_over(make(np.asarray(wanted)), "bfloat16")
    assert keras.backend.standardize_dtype(half.dtype) == "bfloat16"
    rounded = keras.ops.cast(keras.ops.convert_to_tensor(wanted), "bfloat16")
    assert np.array_equal(*(numpy(keras.ops.cast(each, "float32")) for each in (half, rounded)))
    if wanted.ndim == 2 and wanted.size:
        found = numpy(keras.ops.matmul(keras.ops.cast(tensor, "float32"), keras.ops.ones((wanted.shape[1], 2))))
        assert found[:, 0] == pytest.approx(wanted.sum(1, dtype="float64"), rel=1e-5)


def test_a_weight_changes_without_what_was_made_of_it_before():
    variable = keras.Variable(handed_over(NUMBERS.copy()))
    before = keras.ops.copy(variable.value)
    variable.assign_add(keras.ops.ones_like(variable.value))
    assert np.array_equal(numpy(before), NUMBERS) and np.array_equal(numpy(variable), NUMBERS + 1)
    other = keras.Variable(np.zeros_like(NUMBERS))
    other.assign(handed_over(NUMBERS.copy()))
    other.assign(2 * other.value)
    assert np.array_equal(numpy(other), 2 * NUMBERS)


@pytest.mark.parametrize("shape", [(1500, 180), (3, 2, 4), (7,), (), (0, 5)])
def test_new_memory_becomes_a_tensor_of_what_was_written_to_it(shape):
    wanted = np.resize(NUMBERS, shape)
    memory = memory_for(shape)
    memory[...] = wanted
    tensor = handed_over(memory)
    part = memory[..., :1].copy() if shape else memory.copy()
    del memory
    assert np.array_equal(numpy(tensor), wanted) and tuple(tensor.shape) == shape
    assert np.array_equal(numpy(handed_over(part)), wanted[..., :1] if shape else wanted)


def test_tensors_are_not_in_the_memory_of_what_is_read_next():
    scratch, tensors = Scratch(), []
    for shape in ((200, 300), (100, 300), (3,), (300, 200)):
        array = scratch(shape, "float32")
        array[...] = np.resize(NUMBERS, shape)
        array.flags.writeable = False
        tensors += [
            (handed_over(array), np.resize(NUMBERS, shape)),
            (handed_over(array.T), np.resize(NUMBERS, shape).T),
        ]
    for tensor, wanted in tensors:
        assert np.array_equal(numpy(tensor), wanted)
