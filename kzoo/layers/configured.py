"""One implementation of `get_config`, `from_config` and of the refusal of unknown arguments."""

import inspect
from typing import Any, Self

import keras

from kzoo.arguments import check, declared, defaults_of
from kzoo.keras_contact import SaysChanges, as_said, untracked
from kzoo.layers.arguments import BY_NAME
from kzoo.shown import as_called

_KERAS_ARGUMENTS = {"name", "dtype", "trainable"}


class Configured(SaysChanges):
    """Mixin for layers, losses and models: the config is the constructor's arguments, defaults included.

    Defaults are written into the config, so a file saved today opens the same after a default changes.
    Arguments that are Keras objects themselves (a temperature, a tower) are restored by `from_config`.

    What an argument may be, its name says in kzoo's own constructors, and a class in its table `arguments`, of names
    and kinds of `kzoo.arguments`. What is the default is taken.

    Raises:
        TypeError: an argument that the constructor does not know; the sentence names it. Or an argument of a type that
            it does not take.
        ValueError: a number out of the range of its argument, or an unknown choice.

    Example:
        >>> class Gain(Configured, keras.layers.Layer):
        ...     def __init__(self, initial=1.0, **kwargs): ...
        >>> Gain().get_config()["initial"]
        1.0
        >>> Gain(inital=2.0)
        TypeError: Gain does not know the argument 'inital'; it takes initial, name, dtype, trainable.
    """

    arguments = {}  # argument of the constructor -> what it may be
    by_name = BY_NAME  # the same for arguments that mean one thing in all constructors of kzoo

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
        bound = signature.bind_partial(None, *args, **kwargs)
        check(cls.kinds(), bound.arguments | bound.arguments.get("kwargs", {}), defaults_of(signature))
        instance = super().__new__(cls, *args, **kwargs)
        bound.apply_defaults()
        arguments = {name: bound.arguments[name] for name in own if name in bound.arguments}
        arguments |= {name: kwargs[name] for name in more if name in kwargs}
        untracked(instance, "_arguments", arguments)  # the constructor stores and tracks what it keeps
        return instance

    def __call__(self, *args, **kwargs) -> Any:
        with as_said():
            return super().__call__(*args, **kwargs)

    @classmethod
    def kinds(cls) -> dict:
        """Argument of the constructor -> what it may be, by its name and by `arguments`."""
        by_name = cls.by_name if cls.__init__.__module__.startswith("kzoo.") else {}
        return by_name | declared(cls)

    @classmethod
    def more_arguments(cls) -> tuple:
        """Names of arguments that the constructor knows beside those of its signature."""
        return ()

    def get_config(self) -> dict:
        return super().get_config() | self._arguments

    def as_called(self) -> str:
        """How it was made, without what it was not told: `"InfoNCE(temperature=0.1)"`."""
        return as_called(type(self), self._arguments)

    @classmethod
    def from_config(cls, config) -> Self:
        config = {name: _restored(value) for name, value in config.items()}
        trainable = config.pop("trainable", True)
        instance = cls(**config)
        if not trainable:  # of a layer that is made locked, Keras would leave the sub-layers open
            instance.trainable = False
        return instance


def _restored(value):
    if isinstance(value, (list, tuple)):
        return type(value)(_restored(item) for item in value)
    if isinstance(value, dict) and {"class_name", "config"} <= set(value):
        return keras.saving.deserialize_keras_object(value)
    if isinstance(value, dict):
        return {name: _restored(item) for name, item in value.items()}
    return value
