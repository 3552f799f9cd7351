"""What a model does through rooms above it, which say so here: a model knows neither presets nor exports."""

from importlib import import_module
from typing import Any

_PLACES = {}  # action -> (module, function)


def provide(action, place) -> None:
    """Say where a function is that does something with a model.

    Args:
        action: name of a method of models, such as `"export"`.
        place: `"module:function"`, imported when it is first wanted.
    """
    _PLACES[action] = tuple(place.split(":"))


def perform(action, model, *arguments, **options) -> Any:
    """Do something with a model; the function gets it as its first argument."""
    module, function = _PLACES[action]
    return getattr(import_module(module), function)(model, *arguments, **options)
