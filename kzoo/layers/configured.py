"""One implementation of `get_config`, `from_config` and of the refusal of unknown arguments."""

import inspect
from typing import Self

import keras
import numpy as np

from kzoo.keras_contact import untracked

_KERAS_ARGUMENTS = {"name", "dtype", "trainable"}


class Configured:
    """Mixin for layers, losses and models: the config is the constructor's arguments, defaults included.

    Defaults are written into the config, so a file saved today opens the same after a default changes.
    Arguments that are Keras objects themselves (a temperature, a tower) are restored by `from_config`.

    Raises:
        TypeError: an argument that the constructor does not know; the sentence names it.

    Example:
        >>> class Gain(Configured, keras.layers.Layer):
        ...     def __init__(self, initial=1.0, **kwargs): ...
        >>> Gain().get_config()["initial"]
        1.0
        >>> Gain(inital=2.0)
        TypeError: Gain does not know the argument 'inital'; it takes initial, name, dtype, trainable.
    """

    def __new__(cls, *args, **kwargs):
        signature = inspect.signature(cls.__init__)
        own = [
            name
            for name, parameter in signature.parameters.items()
            if name != "self" and parameter.kind is not inspect.Parameter.VAR_KEYWORD
        ]
        more = [name for name in cls.more_arguments() if name not in own]
        unknown = set(kwargs) - set(own) - set(more) - _KERAS_ARGUMENTS
        if unknown:
            raise TypeError(
                f"{cls.__name__} does not know the argument {sorted(unknown)[0]!r}; "
                f"it takes {', '.join([*own, *more, *sorted(_KERAS_ARGUMENTS - set(own))])}."
            )
        instance = super().__new__(cls, *args, **kwargs)
        bound = signature.bind_partial(instance, *args, **kwargs)
        bound.apply_defaults()
        arguments = {name: bound.arguments[name] for name in own if name in bound.arguments}
        arguments |= {name: kwargs[name] for name in more if name in kwargs}
        untracked(instance, "_arguments", arguments)  # the constructor stores and tracks what it keeps
        return instance

    @classmethod
    def more_arguments(cls) -> tuple:
        """Names of arguments that the constructor knows beside those of its signature."""
        return ()

    def get_config(self) -> dict:
        return super().get_config() | self._arguments

    def as_called(self) -> str:
        """How it was made, without what it was not told: `"InfoNCE(temperature=0.1)"`."""
        defaults = {name: each.default for name, each in inspect.signature(type(self).__init__).parameters.items()}
        given = [f"{name}={value!r}" for name, value in self._arguments.items() if _differs(value, defaults.get(name))]
        return f"{type(self).__name__}({', '.join(given)})"

    @classmethod
    def from_config(cls, config) -> Self:
        config = {name: _restored(value) for name, value in config.items()}
        trainable = config.pop("trainable", True)
        instance = cls(**config)
        if not trainable:  # of a layer that is made locked, Keras would leave the sub-layers open
            instance.trainable = False
        return instance


def _differs(value, default):
    """Whether an argument is another than its default; of arrays it is."""
    return value is not default and (type(value) is not type(default) or np.ndim(value) > 0 or value != default)


def _restored(value):
    if isinstance(value, (list, tuple)):
        return type(value)(_restored(item) for item in value)
    if isinstance(value, dict) and {"class_name", "config"} <= set(value):
        return keras.saving.deserialize_keras_object(value)
    if isinstance(value, dict):
        return {name: _restored(item) for name, item in value.items()}
    return value
