"""The golden cases of the losses: how one is built, given its state, and called."""

import json
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from shared_case import as_array, gradient_function

import kzoo.losses

TABLES = ("golden_image_text.json", "golden_ssl.json")


@cache
def golden():
    """Pairs of a name and a case, of both tables."""
    folder = Path(__file__).parents[1] / "golden"
    tables = [json.loads((folder / table).read_text()) for table in TABLES]
    return [(name, case) for table in tables for name, entry in table.items() for case in entry["cases"]]


def parametrized(wanted=lambda name, case: True):
    """The cases as parameters of a test, with names that tell them apart."""
    chosen = [(name, case) for name, case in golden() if name in vars(kzoo.losses) and wanted(name, case)]
    return [
        pytest.param(name, case, id=f"{name}-{case.get('name', index)}") for index, (name, case) in enumerate(chosen)
    ]


def built(name, case, /, **arguments):
    """The loss of a case, with the state that the case starts from."""
    given = case["constructor"] | arguments
    if isinstance(given.get("loss"), str):  # of a wrapper, as an expression over the losses
        given["loss"] = eval(given["loss"], vars(kzoo.losses))
    loss = getattr(kzoo.losses, name)(**given)
    for key, value in case.get("state", {}).items():
        getattr(loss, key).assign(as_array(case["inputs"][value]) if isinstance(value, str) else value)
    return loss


def called_with(case, inputs=None):
    """`(args, kwargs)`: arrays of a case, given to the loss by position and by keyword."""
    arrays = {key: as_array(value) for key, value in (inputs or case["inputs"]).items()}
    keywords = {
        keyword: arrays[value] if isinstance(value, str) else value for keyword, value in case["call"]["kwargs"].items()
    }
    return [arrays[key] for key in case["call"]["args"]], keywords


def differentiated(loss, args, kwargs):
    """A function of `args, kwargs` such as these: the loss's value, and its gradients for the positional floats.

    jax compiles it once for all arrays of the same shapes and types.
    """
    floats = [place for place, array in enumerate(args) if array.dtype.kind == "f"]
    numbers = {keyword: value for keyword, value in kwargs.items() if not isinstance(value, np.ndarray)}

    def function(*tensors, **further):
        given = dict(zip(floats, tensors))
        given |= {place: further.pop(str(place)) for place in range(len(args)) if place not in given}
        return loss(*(given[place] for place in range(len(args))), **further, **numbers)

    gradients = gradient_function(function)

    def evaluated(args, kwargs):
        further = {str(place): array for place, array in enumerate(args) if place not in floats}
        further |= {keyword: array for keyword, array in kwargs.items() if keyword not in numbers}
        return gradients([args[place] for place in floats], **further)

    return evaluated
