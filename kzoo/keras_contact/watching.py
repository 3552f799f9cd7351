"""The outputs of layers while a model is called, for who looks at them on their way."""

from collections.abc import Callable
from contextlib import AbstractContextManager

from kzoo.keras_contact.attributes import replaced


def children_of(layer) -> list:
    """The layers that a layer holds itself, without those within them."""
    return list(layer._flatten_layers(recursive=False, include_self=False))


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
