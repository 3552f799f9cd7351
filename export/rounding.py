"""What rounding alone makes of a model's numbers: no graph can be nearer to a model than the model is to itself."""

from collections.abc import Callable
from functools import cache

import keras
import numpy as np

TIMES = 4  # that every weight is moved, each to a side by chance
FAR = 10.0  # a row is decided by rounding if that many such moves leave the bound


def differences(wanted, found) -> np.ndarray:
    """The largest difference of each row, relative to the largest value of all rows where that is above 1."""
    apart = np.abs(found - wanted).reshape(len(wanted), -1).max(axis=1)
    return apart / max(1.0, float(np.max(np.abs(wanted))))


def moved_by_rounding(layer, ask, dtype="float32") -> list:
    """How far rows move where every weight moves by one rounding.

    Random weights, or ones far from their statistics, make gates and softmaxes of huge numbers, in which the last bit
    decides: two machines differ there as much as a model and its graph.

    Args:
        layer: whose weights move; it keeps them.
        ask: function that runs the layer uncompiled and gives a list of dicts of arrays, a row for each sample.
        dtype: whose rounding is meant.

    Returns:
        list: for each dict of `ask` one of arrays `(rows,)`, the largest of `differences`.
    """
    random, unit = np.random.default_rng(0), float(np.finfo(dtype).eps)
    weights = [each for each in layer.variables if "float" in keras.backend.standardize_dtype(each.dtype)]
    still = ask()
    far = [{name: np.zeros(len(values)) for name, values in each.items()} for each in still]
    for _ in range(TIMES):
        pairs = []
        for weight in weights:
            array = keras.ops.convert_to_numpy(weight)
            sides = random.integers(0, 2, array.shape) * 2 - 1
            pairs.append((weight, keras.ops.convert_to_tensor((array * (1.0 + unit * sides)).astype("float32"))))
        with keras.StatelessScope(state_mapping=pairs):
            moved = ask()
        for most, before, after in zip(far, still, moved, strict=True):
            for name in most:
                most[name] = np.maximum(most[name], differences(before[name], after[name]))
    return far


def lazily(layer, ask, tolerance, dtype) -> Callable:
    """A function that gives the rows which say nothing of a graph, and finds them out when it is called first.

    Args:
        layer, ask, dtype: as `moved_by_rounding` takes them.
        tolerance: bound on the difference of the graph.

    Returns:
        function that gives, for each dict of `ask`, one of arrays of booleans `(rows,)`.
    """

    @cache
    def undecided():
        far = moved_by_rounding(layer, ask, dtype)
        return [{name: FAR * rows > tolerance for name, rows in each.items()} for each in far]

    return undecided
