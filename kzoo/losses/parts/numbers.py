"""The numbers that a loss is called with beside embeddings, ids, classes and weights, checked where they are seen."""

import numpy as np

INT32 = np.iinfo("int32")
EXACT = 2**24  # up to here float32, in which losses calculate, tells whole numbers apart


def check_numbers(loss, arguments, sizes) -> None:
    """Stops where the numbers of an argument cannot be what the loss takes them for.

    Only numpy arrays are looked at: a tensor may still have to be computed, and to ask for its values waits for it.
    What they are is written in words:

    - `"id"`: whole numbers that are compared with each other, in the range of int32;
    - `"index"` or `"index of classes"`: whole numbers from 0, below the size of an axis, or below what the constructor
      was given by that name; `"index of classes or -1"` takes -1 too, `"... or less"` all negative ones;
    - `"weight"`: finite numbers of at least 0;
    - `"flag"`: booleans, or 0 and 1;
    - `"number"`: finite numbers.

    Args:
        loss: has `numbers`, a dict of an argument's name to these words; what is not named there is not looked at.
        arguments: list of `(name, array)`.
        sizes: dict of the name of an axis to its size.

    Raises:
        ValueError: what came, what was expected, and what to do.
    """
    given = dict(arguments)
    for name, array in arguments:
        if name not in loss.numbers or not isinstance(array, np.ndarray):
            continue
        kind, *words = loss.numbers[name].split()
        said = CHECKS[kind](_counted(array, name, given), *_range(loss, words, sizes))
        if said:
            raise ValueError(f"{type(loss).__name__} got {name} {said}.")


def _counted(array, name, given):
    """The numbers that count: labels of tokens that a mask leaves out may be anything."""
    mask = given.get("mask")
    if name == "labels" and isinstance(mask, np.ndarray) and mask.shape == array.shape:
        return array[mask.astype(bool)]
    return array


def _range(loss, words, sizes):
    """`(least, count)` of an index, as its words say; None for what is not known."""
    if not words:
        return ()
    axis = words[1]
    count = int(axis) if axis.isdigit() else sizes.get(axis) or loss.get_config().get(axis)
    least = {"-1": -1, "less": INT32.min}[words[3]] if len(words) > 3 else 0
    return least, count


def _index(array, least=0, count=None):
    said = _id(array)
    if said or not array.size:
        return said
    low, high = int(array.min()), int(array.max())
    if low >= least and (count is None or high < count):
        return None
    wanted = "0 or more" if count is None else f"0 to {count - 1}"
    also = ", or -1" if least == -1 else ""
    advice = "leave out rows without one, or give them sample_weight 0" if low < 0 else "number them from 0"
    return f"from {low} to {high}, but {wanted}{also} is expected; {advice}"


def _id(array):
    if array.dtype.kind not in "biuf":
        return f"of dtype {array.dtype}, but whole numbers are expected; {NUMBER_THEM}"
    if not array.size or array.dtype.kind == "b":
        return None
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        return "with values that are not finite, but whole numbers are expected; leave out rows without one"
    if array.dtype.kind == "f" and np.any(array % 1):
        return f"with fractions, such as {array[array % 1 != 0][0]:g}, but whole numbers are expected; {NUMBER_THEM}"
    low, high = array.min(), array.max()
    if array.dtype.kind == "f" and max(-low, high) > EXACT:
        return f"of dtype {array.dtype} to {high:.0f}, which float32 cannot tell from its neighbours; {NUMBER_THEM}"
    if low < INT32.min or high > INT32.max:
        return f"from {low} to {high}, but ids are int32; {NUMBER_THEM}"
    return None


NUMBER_THEM = "number them with numpy.unique(..., return_inverse=True)[1]"


def _number(array):
    if array.dtype.kind not in "biuf":
        return f"of dtype {array.dtype}, but numbers are expected"
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        return "with values that are not finite; leave out rows without one"
    return None


def _weight(array):
    said = _number(array)
    if not said and array.dtype.kind != "b" and array.size and array.min() < 0:
        return f"from {array.min():g}, but weights are 0 or more"
    return said


def _flag(array):
    said = _number(array)
    if not said and not np.isin(array, (0, 1)).all():
        return f"from {array.min():g} to {array.max():g}, but booleans, or 0 and 1, are expected"
    return said


CHECKS = {"id": _id, "index": _index, "weight": _weight, "flag": _flag, "number": _number}
