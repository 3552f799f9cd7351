"""Paths of parameters: the attributes from a model to a weight, with a number for a place in a list.

`image_encoder.blocks.0.attention.query.kernel` is one. It is the same on every backend and in every process, as the
names that Keras makes up are not. `kzoo.patterns` chooses among them.
"""

import re
from dataclasses import dataclass
from typing import Any

from kzoo.files.words import on_one_line
from kzoo.keras_contact import attributes_of, children_of, own_weights


@dataclass(frozen=True)
class Parameter:
    """A weight of a model.

    Attributes:
        path: of it, with dots.
        variable: the weight.
        owner: the layer that has it.
        trains: whether it is made to be trained; statistics of a batch norm, for one, are not.
        parts: of the path, for each the ways to say it: a place in a list is one from its end too.
    """

    path: str
    variable: Any
    owner: Any
    trains: bool
    parts: tuple


def at(model, path) -> Any:
    """The attribute at a dotted path; a number is a place in a list. None where the path ends early.

    Example:
        >>> at(model, "image_encoder.blocks.0.attention.query.kernel").shape
        (64, 64)
    """
    for step in path.split("."):
        if model is None:
            return None
        model = model[int(step)] if step.isdigit() else getattr(model, step, None)
    return model


def parameters(model) -> list[Parameter]:
    """The weights of a model or layer by their paths, each once, in the order of its attributes.

    Example:
        >>> parameters(model)[0].path
        'image_encoder.embedding.kernel'
    """
    return [each for _, _, own in layers(model) for each in own]


def layers(model) -> list:
    """`(path, layer, parameters)` of a model and of all layers within it: those that a layer has itself."""
    return list(_walk(model, (), {id(model)}, set()))


def _walk(layer, parts, seen, named):
    own, children = own_weights(layer), children_of(layer)
    known = {id(each) for each, _ in own} | {id(each) for each in children}
    places = [place for name, value in attributes_of(layer).items() for place in _places(value, ((name,),), known)]
    told = {id(value) for value, _ in places}
    # Keras hides some behind properties, and layers of a functional model behind nothing: they go by their own names
    hidden = [each for each in ([each for each, _ in own] + children) if id(each) not in told]
    places += [(each, ((each.name.replace(".", "_"),),)) for each in hidden]
    trains, found, within = {id(each): value for each, value in own}, [], []
    for value, more in places:
        if id(value) in seen:
            continue
        seen.add(id(value))
        if id(value) in trains:
            found.append(_parameter(layer, value, (*parts, *more), trains[id(value)], named))
        else:
            within.append((value, (*parts, *more)))
    order = {id(each): place for place, (each, _) in enumerate(own)}
    yield ".".join(part[0] for part in parts), layer, sorted(found, key=lambda each: order[id(each.variable)])
    for child, more in within:
        yield from _walk(child, more, seen, named)


def _places(value, parts, known):
    """`(layer or weight, parts)` of those that stand in an attribute, or in lists and dicts in it."""
    if id(value) in known:
        yield value, parts
    elif isinstance(value, (list, tuple)):
        for number, each in enumerate(value):
            yield from _places(each, (*parts, (str(number), str(number - len(value)))), known)
    elif isinstance(value, dict):
        for name, each in value.items():
            yield from _places(each, (*parts, (str(name).replace(".", "_"),)), known)


def _parameter(layer, variable, parts, trains, named):
    path, number = ".".join(part[0] for part in parts), 2
    while path in named:  # of layers from outside, whose weights have one name
        path, number = ".".join(part[0] for part in parts) + f"_{number}", number + 1
    named.add(path)
    return Parameter(path, variable, layer, trains, (*parts[:-1], (path.rpartition(".")[2],)))


def at_paths(model, paths) -> list[Parameter]:
    """The weights to train at paths of weights or layers of a model, as files name them; of a quantised layer none.

    Raises:
        ValueError: a path that the model does not have.
    """
    known = parameters(model)
    around = [{each.path[: end.start()] for end in re.finditer(r"\.|$", each.path)} for each in known]
    nowhere = next((path for path in paths if not any(path in ways for ways in around)), None)
    if nowhere is not None:
        raise ValueError(f"the model has no weights {on_one_line(nowhere)[:100]!r}")
    return [each for each, ways in zip(known, around) if each.trains and not ways.isdisjoint(paths)]
