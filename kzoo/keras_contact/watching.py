"""The outputs of layers while a model is called, for who looks at them on their way."""

from collections.abc import Callable
from contextlib import AbstractContextManager

import keras

from kzoo.keras_contact.attributes import replaced


def children_of(layer) -> list:
    """The layers that a layer holds itself, without those within them."""
    return list(layer._flatten_layers(recursive=False, include_self=False))


def attributes_of(layer) -> dict:
    """Name -> value of the public attributes of a layer, those that are layers first; the same on every backend.

    torch keeps layers apart from the other attributes.
    """
    found = vars(layer) | vars(layer).get("_modules", {})
    found = {name: value for name, value in found.items() if not name.startswith("_")}
    return dict(sorted(found.items(), key=lambda each: not isinstance(each[1], keras.layers.Layer)))


def own_weights(layer) -> list:
    """`(variable, trains)` of the weights that a layer has itself, not within others: whether Keras made it to be
    trained, which it stays where it is locked."""
    found = [(each, True) for each in layer._trainable_variables]
    return found + [(each, False) for each in layer._non_trainable_variables]


def outputs_shown(layers, show) -> AbstractContextManager:
    """Within it each call of a layer tells what it gives.

    Args:
        layers: of which the outputs are wanted.
        show: function of a layer and its output.
    """
    return replaced("call", [(each, _showing(each, each.call, show)) for each in layers if "call" not in vars(each)])


def _showing(layer, call, show) -> Callable:
    def shown(*arguments, **keywords):
        outputs = call(*arguments, **keywords)
        show(layer, outputs)
        return outputs

    return shown
