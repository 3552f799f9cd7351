"""Batches of one and two, labels all equal or all different, masks all true or all false, extreme temperatures."""

import re

import numpy as np
import pytest
from golden_case import built, called_with, differentiated, golden

import kzoo.losses

pytestmark = pytest.mark.filterwarnings("ignore:InfoNCE received a batch of one", "ignore:overflow encountered in cast")
LABELS = {"labels", "ids", "groups", "is_target"}
MASKS = {"mask", "a_mask", "b_mask", "positives", "faces_mask", "names_mask", "rehearsal"}
TEMPERATURES = {
    "temperature": (1e-6, 1e3),
    "teacher_temperature": (1e-3, 1e3),
    "student_temperature": (1e-3, 1e3),
    "scale": (1e-3, 1e4),
}
ROWS = {"DINO": 6, "SimDINO": 6, "Matryoshka2D": 6}  # of the batch, where that is not the first axis
COLUMNS = ("batch of 1", "compares columns over a batch and needs 2 rows, but got 1")
REFUSED = {  # of a loss what its formula needs more for, and how it says so
    **dict.fromkeys(("BarlowTwins", "MixedBarlowTwins", "SplitInvariantEquivariant", "VICReg"), COLUMNS),
    "GroupOrdering": (
        "batch",
        r"with num_negatives=4 others, but the batch has \d rows; give at least 5",
    ),
    "ICNN": ("batch", r"compares neighbours, but the batch has \d rows; give at least 3"),
    **dict.fromkeys(
        ("SimplexClassifier", "EquiangularBasisVectors"),
        ("labels all different", "got labels from 0 to 5, but 0 to 3 is expected"),
    ),
    "SeparateCommonSalient": ("is_target all different", "got is_target from 0 to 5, but booleans"),
    "IndividualTemperature": (
        "batch of 1|temperature",
        "compares each row with others, but the batch is one row; use 2|lies outside the bounds 0.005 and 1.0",
    ),
}


def first_rows(array, rows, batch):
    """An array with only the first rows on every axis that is as long as the batch."""
    return array[tuple(slice(rows if length == batch else None) for length in array.shape)]


def odd(name, case):
    """What is odd, and `(args, kwargs, arguments of the constructor)`."""
    args, kwargs = called_with(case)
    batch = ROWS.get(name, len(args[0]))
    arrays = {key: value for key, value in kwargs.items() if hasattr(value, "shape")}
    for rows in (1, 2):
        few = {key: first_rows(value, rows, batch) for key, value in arrays.items()}
        few |= {key: np.minimum(value, rows - 1) for key, value in few.items() if "permutation" in key}
        yield f"a batch of {rows}", ([first_rows(array, rows, batch) for array in args], kwargs | few, {})
    for key in LABELS & set(arrays):
        value = arrays[key]
        yield f"{key} all equal", (args, kwargs | {key: np.zeros_like(value)}, {})
        if "old_classifier" not in arrays:  # whose rows are the classes
            different = np.arange(value.size, dtype=value.dtype).reshape(value.shape)
            yield f"{key} all different", (args, kwargs | {key: different}, {})
    for key in MASKS & set(arrays):
        yield f"{key} all false", (args, kwargs | {key: np.zeros_like(arrays[key])}, {})
        yield f"{key} all true", (args, kwargs | {key: np.ones_like(arrays[key])}, {})
    for key in TEMPERATURES.keys() & case["constructor"].keys():
        yield from ((f"{key} {value}", (args, kwargs, {key: value})) for value in TEMPERATURES[key])


CASES = {
    (name, *sorted(case["call"]["kwargs"])): (name, case)
    for name, case in reversed(golden())
    if name in vars(kzoo.losses) and name != "OnlineBagOfWords"  # its inputs have different numbers of rows
}


@pytest.mark.one_other
@pytest.mark.parametrize("name, case", CASES.values(), ids=["-".join(key) for key in CASES])
def test_odd_batches_give_finite_values_and_gradients_or_a_sentence(name, case):
    plain = differentiated(built(name, case), *called_with(case))
    for what, (args, kwargs, arguments) in odd(name, case):
        refused, sentence = REFUSED.get(name, (None, None))
        if refused and re.search(refused, what):
            with pytest.raises(ValueError, match=sentence):
                built(name, case, **arguments)(*args, **kwargs)
        else:
            function = differentiated(built(name, case, **arguments), args, kwargs) if arguments else plain
            value, gradients = function(args, kwargs)
            assert np.isfinite(value) and all(np.isfinite(gradient).all() for gradient in gradients), what
