"""The outputs of layers while a model is called, for who looks at them on their way."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from kzoo.keras_contact.attributes import untracked


def children_of(layer) -> list:
    """The layers that a layer holds itself, without those within them."""
    return list(layer._flatten_layers(recursive=False, include_self=False))


@contextmanager
def outputs_shown(layers, show) -> Iterator:
    """Within it each call of a layer tells what it gives.

    Args:
        layers: of which the outputs are wanted.
        show: function of a layer and its output.
    """
    layers = [each for each in layers if "call" not in vars(each)]
    for each in layers:
        untracked(each, "call", _showing(each, each.call, show))
    try:
        yield
    finally:
        for each in layers:
            object.__delattr__(each, "call")


def _showing(layer, call, show) -> Callable:
    def shown(*arguments, **keywords):
        outputs = call(*arguments, **keywords)
        show(layer, outputs)
        return outputs

    return shown
