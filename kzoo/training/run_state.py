"""What a training consists of at a moment: tensors and numbers, taken out of a model and put back into one."""

import hashlib
import json
from typing import Any

import keras
import numpy as np

from kzoo.files.words import on_one_line
from kzoo.keras_contact import untracked
from kzoo.scale.engine import counted_by
from kzoo.training.health import healths_of

NUMBERED = ("trained", "fixed", "optimizer")  # of the groups of `variables_of`
LONGEST = 200  # characters of a text and entries of a list that a description spells out; of more, a digest
NOT_OF_IT = ("name", "registered_name", "module", "build_config")  # in configs: what is counted on or says the same
NOTED = ("epochs_made", "trainings")  # attributes that `fit` sets on a model


def variables_of(model) -> dict:
    """All variables that a step may change, by a name that is the same in each process which makes the same model."""
    groups = {
        "trained": model.trainable_variables,
        "fixed": model.non_trainable_variables,
        "optimizer": model.optimizer.variables,
        "metrics": model.metrics_variables,
    }
    return {f"{group}/{index:05d}": each for group, all_of in groups.items() for index, each in enumerate(all_of)}


def on_host(variables) -> dict:
    """Copies of the values in the memory of the host, whole, wherever their parts are; name -> numpy array."""
    values = {name: each.value for name, each in variables.items()}
    if keras.config.backend() == "tensorflow":  # of several replicas these are no arrays, but read as one of them
        return {name: _of_one(np.array(each.numpy()), counted_by(each)) for name, each in values.items()}
    if keras.config.backend() == "jax":
        values = {name: _whole(each) for name, each in values.items()}
    return {name: np.array(keras.ops.convert_to_numpy(each)) for name, each in values.items()}


def _of_one(sum_of_all, number):
    """What one of several replicas has counted, as all count the same: another number of them may go on."""
    if number == 1:
        return sum_of_all
    return np.asarray(sum_of_all // number if sum_of_all.dtype.kind in "iu" else sum_of_all / number, sum_of_all.dtype)


def _whole(value):
    """A value of jax whose parts other processes have is gathered: all of them ask for it."""
    if value.is_fully_addressable or value.is_fully_replicated:
        value.copy_to_host_async()  # all of them at once, before the first is waited for
        return value
    from jax.experimental import multihost_utils

    return multihost_utils.process_allgather(value, tiled=True)


def check_fits(arrays, variables, place) -> None:
    """Stops where arrays are not those of these variables.

    Raises:
        ValueError: the first that differs, or one of a variable more; of metrics there may be more, which are made as
            they are first asked for.
    """
    more = next((name for name in arrays if name.split("/")[0] in NUMBERED and name not in variables), None)
    if more is not None:
        raise ValueError(
            f"{place} is of another model: it has {on_one_line(more)} of shape {arrays[more].shape}, of which this one "
            "has nothing; make the model as it was, or give another folder."
        )
    for name, variable in variables.items():
        there = arrays[name].shape if name in arrays else None
        if there != tuple(variable.shape):
            held = "none" if there is None else f"one of shape {there}"
            raise ValueError(
                f"{place} is of another model: for {variable.path} of shape {tuple(variable.shape)} it has {held}; "
                "make the model as it was, or give another folder."
            )
        if not _goes_into(arrays[name], keras.backend.standardize_dtype(variable.dtype)):
            raise ValueError(
                f"{place} is of another model: {variable.path} is of {variable.dtype}, and it has "
                f"{arrays[name].dtype}; make the model as it was, or give another folder."
            )


def _goes_into(array, dtype):
    """Whether a variable of this dtype takes an array as it is; whole numbers, which backends count in widths of their
    own, of another width too."""
    if str(array.dtype) == dtype:
        return True
    return "int" in dtype and array.dtype.kind in "iu" and bool((array == array.astype(dtype)).all())


def put_back(arrays, variables) -> None:
    for name, variable in variables.items():
        array, number = arrays[name], counted_by(variable.value)  # of which each gets its part of what is assigned
        if array.dtype.kind in "iu":
            array = array.astype(keras.backend.standardize_dtype(variable.dtype))
        variable.assign(array if number == 1 else array * np.asarray(number, array.dtype))


def is_well(model) -> bool:
    """Whether no step of this epoch had a loss that is not finite, as far as the model has a `Health` to tell."""
    return all(int(keras.ops.convert_to_numpy(each.first_bad.value)) < 0 for each in healths_of(model))


def noted(model) -> dict:
    """What `fit` has noted on a model, in values of JSON."""
    return {name: getattr(model, name) for name in NOTED if hasattr(model, name)}


def note(model, values) -> None:
    """Put `noted` back."""
    for name in NOTED:
        if name in values:
            value = values[name]
            untracked(model, name, tuple(value) if isinstance(value, list) else value)


# -- what must be the same when a training goes on --
def description(model, data) -> dict:
    """Model, loss, optimizer and gradients in values of JSON, without what is large, beside a description of the data.

    Two processes of one script give the same; `difference` says what is not.
    """
    parts = {"optimizer": model.optimizer, "loss": model.objective, "gradients": model.gradients}
    found = {"model": {"kind": type(model).__name__, **_config(model)}}
    found["model"].pop("loss", None)  # which it takes where it is compiled with none
    found |= {name: {"kind": type(each).__name__, **_config(each)} for name, each in parts.items()}
    return json.loads(json.dumps(found | {"data": data}))


def _config(thing):
    try:
        return _short(keras.saving.serialize_keras_object(thing.get_config()))
    except (NotImplementedError, TypeError, ValueError, AttributeError):  # of a function or an object without a config
        return {}


def _short(value):
    if isinstance(value, dict):
        return {str(name): _short(each) for name, each in value.items() if name not in NOT_OF_IT}
    if isinstance(value, (list, tuple)):
        return [_short(each) for each in value] if len(value) <= LONGEST else _digest(value)
    if isinstance(value, str):
        return value if len(value) <= LONGEST else _digest(value)
    return value if value is None or isinstance(value, (bool, int, float)) else _digest(value)


def _digest(value):
    return f"sha256:{hashlib.sha256(repr(value).encode()).hexdigest()[:16]}"


def difference(before, now, place="") -> str | None:
    """Where two values of JSON differ first, in words; None where they are the same.

    Example:
        >>> difference({"loss": {"temperature": 0.07}}, {"loss": {"temperature": 0.1}})
        'loss.temperature was 0.07 and is 0.1'
    """
    if isinstance(before, dict) and isinstance(now, dict):
        for name in [*before, *(each for each in now if each not in before)]:
            inner = f"{place}.{name}" if place else name
            found = difference(before.get(name), now.get(name), inner)
            if found is not None:
                return found
        return None
    if isinstance(before, list) and isinstance(now, list) and len(before) == len(now):
        each = (difference(one, other, f"{place}[{at}]") for at, (one, other) in enumerate(zip(before, now)))
        return next((found for found in each if found is not None), None)
    return None if before == now else f"{place} was {_said(before)} and is {_said(now)}"


def _said(value) -> Any:
    text = json.dumps(value)
    return text if len(text) <= 60 else f"{text[:60]}..."
