"""The weights of a model by their paths, and whether those of another stand for the same."""

from collections.abc import Iterator
from typing import Any

import numpy as np
from keras import ops

from kzoo.arguments import able, shown
from kzoo.layers.copies import copy_of
from kzoo.paths import parameters

MODEL = able("towers modalities weights get_config", "a model of kzoo")
NO_MATTER = ("name", "trainable", "dtype", "dropout")  # of a config: what changes no number of a model in use


def named_weights(model) -> Iterator:
    """`(path, variable)` of the weights of a model, without those of a loss that `compile` has attached."""
    of_loss = {id(each) for each in model.objective.variables} if model.compiled else set()
    for each in parameters(model):
        if id(each.variable) not in of_loss:
            yield each.path, each.variable


def weights_of(model) -> dict:
    """Path -> float32 array of the weights that are floats."""
    weights = ((path, weight) for path, weight in named_weights(model) if "float" in str(weight.dtype))
    return {path: ops.convert_to_numpy(ops.cast(weight, "float32")) for path, weight in weights}


def with_weights(model, weights) -> Any:
    """A copy of a model in which some weights are others: path -> array."""
    copy = copy_of(model)
    assign(copy, weights)
    return copy


def assign(model, weights) -> None:
    """Give some weights of a model other numbers: path -> array."""
    for name, variable in named_weights(model):
        if name in weights:
            variable.assign(np.asarray(weights[name], "float32"))


def check_alike(models) -> None:
    """Stops unless all are models of one architecture.

    Raises:
        TypeError: something else than a model.
        ValueError: the first difference.
    """
    for place, model in enumerate(models):
        if MODEL.wrong(model) is not None:
            raise TypeError(f"model {place} is {shown(model, True)}; give a model of kzoo.")
    for place, model in enumerate(models[1:], 1):
        difference = next(_differences(models[0], model), None)
        if difference:
            raise ValueError(f"model {place} is no fine-tuned model 0: {difference}; merge models that come from one.")


def _differences(one, other):
    if type(one) is not type(other):
        yield f"it is a {type(other).__name__}, not a {type(one).__name__}"
        return
    theirs = other.towers()
    for place, tower in one.towers().items():
        if place not in theirs:
            yield f"it has no {place}"
        elif type(tower) is not type(theirs[place]):
            yield f"its {place} is a {type(theirs[place]).__name__}, not a {type(tower).__name__}"
        else:
            own, its = tower.get_config(), theirs[place].get_config()
            for key in own:
                if key not in NO_MATTER and own[key] != its.get(key):
                    yield f"its {place} has {key}={shown(its.get(key))}, not {shown(own[key])}"
    shapes = [{name: tuple(weight.shape) for name, weight in named_weights(each)} for each in (one, other)]
    for name in {**shapes[0], **shapes[1]}:
        if shapes[0].get(name) != shapes[1].get(name):
            yield f"its {name} is {_shape(shapes[1].get(name))}, not {_shape(shapes[0].get(name))}"


def _shape(shape):
    return "missing" if shape is None else f"of shape {shape}"
