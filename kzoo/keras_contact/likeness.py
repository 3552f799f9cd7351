"""Which layers compute the same of the same: those that differ in the values of their weights alone."""

from functools import cache
from typing import Any

import keras

from kzoo.keras_contact.changes import COUNT

PLAIN = (type(None), bool, int, float, complex, str, bytes, type)
# whose layers compute by what they hold: others may go by their name, or by a table elsewhere
KNOWN = ("kzoo", "keras")


def likeness(layer) -> tuple:
    """What a layer does beside the values of its variables; equal for layers of which one may stand for the other, with
    the values of the other's `variables` in the order of its own.

    What is not known to be the same is taken to be different.

    Args:
        layer: any built layer.

    Returns:
        A tuple that can be hashed, good for as long as the layer is not changed.

    Example:
        >>> likeness(tower.blocks[0]) == likeness(tower.blocks[1])
        True
    """
    variables = layer.variables
    numbers = {id(each): number for number, each in enumerate(variables)}
    shapes = tuple((tuple(each.shape), each.dtype) for each in variables)
    return (shapes, _of_layer(layer, numbers), autocast_dtype())


def autocast_dtype() -> str | None:
    """What float variables are cast to where they are read at this place, by the layers around it; None for nothing."""
    scope = keras.src.backend.get_autocast_scope()
    return None if scope is None else scope.dtype


def _of_layer(layer, numbers):
    own = {name: value for name, value in vars(layer).items() if name not in _of_every_layer()}
    own |= vars(layer).get("_modules", {})
    said = (type(layer), layer.dtype_policy.name, layer.quantization_mode, layer.autocast, layer._remat_mode)
    if type(layer).__module__.partition(".")[0] not in KNOWN:
        said = (*said, id(layer))
    return (*said, *((name, _of(value, numbers)) for name, value in sorted(own.items())))


def _of(value, numbers) -> Any:
    if isinstance(value, keras.Variable):
        return ("variable", numbers.get(id(value), id(value)))
    if isinstance(value, keras.layers.Layer):
        return _of_layer(value, numbers)
    if isinstance(value, dict):
        return ("dict", *sorted((str(name), _of(each, numbers)) for name, each in value.items()))
    if isinstance(value, (list, tuple)):
        return ("list", *(_of(each, numbers) for each in value))
    if isinstance(value, keras.DTypePolicy):
        return ("policy", value.name)
    if isinstance(value, keras.initializers.Initializer):
        return ("initializer",)  # by which values came into being
    if isinstance(value, keras.layers.InputSpec):
        return ("input", value.ndim, value.shape, str(value.axes))
    return value if isinstance(value, PLAIN) else (type(value), id(value))


@cache
def _of_every_layer():
    """Names of what is kept in each layer to know it by: its name, what it is part of, how it is called, and what
    TensorFlow writes of its parts."""
    layer = keras.layers.Layer()
    layer.part = keras.layers.Layer()
    return frozenset({*vars(layer), COUNT}) - {"part"}
