"""The outputs of layers while a model is called, for who looks at them on their way."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import keras

from kzoo.keras_contact.attributes import replaced, untracked


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


@contextmanager
def outputs_hidden(layer) -> Iterator:
    """Within it a layer and those within it tell nothing, whatever `outputs_shown` is around it."""
    telling = [each for each in layer._flatten_layers() if hasattr(vars(each).get("call"), "show")]
    calls = [vars(each).pop("call") for each in telling]
    try:
        yield
    finally:
        for each, call in zip(telling, calls):
            untracked(each, "call", call)


def show_outputs(layer, outputs) -> None:
    """Tell what a layer gives that was computed without a call of it, where `outputs_shown` wants to know."""
    call: Any = vars(layer).get("call")
    if hasattr(call, "show"):
        call.show(layer, outputs)


def _showing(layer, call, show) -> Callable:
    def shown(*arguments, **keywords):
        outputs = call(*arguments, **keywords)
        show(layer, outputs)
        return outputs

    shown.show = show
    return shown
