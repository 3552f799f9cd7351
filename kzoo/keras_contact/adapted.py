"""Layers within a built layer that change what it gives, without a word of it in the layer."""

from collections.abc import Callable

import keras

from kzoo.keras_contact.attributes import untracked


def give_parts(layer, name, parts) -> None:
    """Keep layers by name in an attribute of a built layer, in place of those that were there; none at all for {}.

    Args:
        layer: built, whose attributes Keras has locked.
        name: of the attribute.
        parts: dict of layers.
    """
    layer._tracker.unlock()
    try:
        for each in vars(layer).pop(name, {}).values():
            layer._tracker.untrack(each)
        if parts:
            setattr(layer, name, dict(parts))
    finally:
        layer._tracker.lock()


def found_anew(layers) -> None:
    """Has torch look for the parameters of layers again, which were given some within them."""
    if keras.config.backend() == "torch":
        for each in layers:
            each._track_variables()


def call_through(layer, methods, around) -> None:
    """From now on methods of one layer are called by a function; what the class does stays as it is.

    Args:
        layer: of Keras.
        methods: names, of which those that its class has are meant.
        around: function of the method and of what it is called with.
    """
    for name in methods:
        if hasattr(type(layer), name):
            untracked(layer, name, _through(getattr(type(layer), name).__get__(layer), around))


def call_directly(layer, methods) -> None:
    """The inverse of `call_through`."""
    for name in methods:
        vars(layer).pop(name, None)


def _through(method, around) -> Callable:
    def called(*arguments, **keywords):
        return around(method, *arguments, **keywords)

    return called
