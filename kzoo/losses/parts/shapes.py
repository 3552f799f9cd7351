"""The shapes of what a loss is called with, checked against each other before a backend stumbles over them."""

from typing import Any

import numpy as np

from kzoo.losses.parts.own_loops import check_whole

ANY, MORE, SCALAR = "_", "...", "scalar"


def check_shapes(loss, arguments) -> None:
    """Stops where an argument of a loss has a shape that the loss does not take, or two do not fit together.

    A shape is written as a name for each axis, `"batch dim"`: axes of one name are of one size. `_` is an axis of any
    size, `...` any number of them, a number that size, `scalar` no axis, and `|` parts shapes that are taken likewise.
    What is not known before the step runs passes.

    Args:
        loss: has `shapes`, a dict of an argument's name to its shape; what is not named there is not looked at.
        arguments: list of `(name, array)`; of more than one array for `*name` a name stands several times.

    Raises:
        ValueError: what came, and what was expected.
        NotImplementedError: rows of one of several devices, see `check_whole`.
    """
    check_whole(loss, arguments)
    owners = {}  # axis -> its size, and whose it is
    for name, shape, taken in _given(loss, arguments):
        axes = next((each for each in _readings(taken) if _has_rank(each, shape)), None)
        if axes is None:
            raise ValueError(
                f"{type(loss).__name__} takes {name} as {_written(taken)}, but got {shape}; "
                f"give that{_by_name(loss, name, shape)}."
            )
        for axis, size in zip(axes, shape):
            if size is None or axis == ANY:
                continue
            expected, owner = owners.setdefault(axis, (int(axis) if axis.isdigit() else size, name))
            if size != expected:
                _refuse(loss, arguments, axis, owner, name)


def in_rows(array, taken) -> Any:
    """A column `(rows, 1)` as `(rows,)` where one number for each row is taken; anything else as it is."""
    readings = [] if taken is None or isinstance(taken, tuple) else _readings(taken)
    of_rows = [axes for axes in readings if axes and axes != [MORE] and not axes[0].isdigit()]
    if not of_rows or max(map(len, readings)) > 1:
        return array
    shape = shape_of(array)
    return array[:, 0] if shape is not None and len(shape) == 2 and shape[1] == 1 else array


def sizes_of(loss, arguments) -> dict:
    """Axis -> its size, of the arguments of a loss, as far as it is known."""
    sizes = {}
    for _, shape, taken in _given(loss, arguments):
        axes = next((each for each in _readings(taken) if _has_rank(each, shape)), ())
        sizes |= {axis: size for axis, size in zip(axes, shape) if size is not None and axis not in sizes}
    return sizes


def shape_of(array) -> tuple | None:
    """The shape of an array, a tensor or nested lists, with None for sizes that are not known yet; None if none is."""
    try:
        return tuple(np.shape(array))
    except ValueError:  # TensorFlow: not even the number of axes is known
        return None


def is_of_batch(shape) -> bool:
    """Whether an argument of this shape has one row for each sample, so that it cannot be a constant."""
    return all("batch" in axes for axes in _readings(shape))


def check_rank(name, array, taken) -> None:
    """Stops unless a constant has as many axes as its shape says."""
    shape = shape_of(array)
    if not any(_has_rank(axes, shape) for axes in _readings(taken)):
        raise ValueError(f"the constant {name!r} has the shape {shape}; give it as {_written(taken)}.")


def _given(loss, arguments):
    """`(name, shape, shape that is taken)` of the arguments that are looked at; of `*name` each may have its own."""
    counts = {}
    for name, array in arguments:
        shape = shape_of(array)
        taken = loss.shapes.get(name)
        if isinstance(taken, tuple):
            counts[name] = counts.get(name, 0) + 1
            taken = taken[min(counts[name], len(taken)) - 1]
        if shape is not None and taken is not None:
            yield name, shape, taken


def _readings(taken):
    taken = taken[-1] if isinstance(taken, tuple) else taken
    return [[axis for axis in each.split() if axis != SCALAR] for each in taken.split("|")]


def _has_rank(axes, shape):
    return len(shape) == len(axes) or (MORE in axes and len(shape) >= len(axes) - 1)


def _written(taken):
    return " or ".join(
        f"({', '.join(axes)}{',' if len(axes) == 1 else ''})" if axes else "a number" for axes in _readings(taken)
    )


def _by_name(loss, name, shape):
    """What else the array may be that came in a place by its position: something that is given by name."""
    if name in loss.optional_inputs:
        return ""
    others = [
        key
        for key in loss.optional_inputs
        if key in loss.shapes and any(axes and _has_rank(axes, shape) for axes in _readings(loss.shapes[key]))
    ]
    others.sort(key="sample_weight".__eq__)  # last
    return f", and {' or '.join(others)} by name: {others[0]}=..." if others else ""


def _refuse(loss, arguments, axis, owner, name):
    between = {each: [] for each in (owner, name)}
    for each, shape, _ in _given(loss, arguments):
        between.get(each, []).append(str(shape))
    taken = {each: written for each, _, written in reversed([*_given(loss, arguments)])}  # of *name the first
    wanted = " and ".join(f"{each} as {_written(taken[each])}" for each in between)
    received = " and ".join(f"{each} {', '.join(shapes)}" for each, shapes in between.items())
    what = f"give {axis} numbers there" if axis.isdigit() else f"they must agree in {axis}"
    raise ValueError(f"{type(loss).__name__} takes {wanted}, but got {received}; {what}.")
