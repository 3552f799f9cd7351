"""What objects print: how they were made."""

import inspect

import numpy as np

FEW = 8  # numbers of an array that are shown; of more, its shape


class AsCalled:
    """Mixin for plain classes: they print as they were made, `Mixup(beta=0.4)`, without what they were not told.

    Example:
        >>> class Gain(AsCalled):
        ...     def __init__(self, initial=1.0, clipped=False): ...
        >>> Gain(2.0)
        Gain(initial=2.0)
    """

    _as_called = None

    def __new__(cls, *args, **kwargs):
        plain = super().__new__ is object.__new__
        instance = super().__new__(cls) if plain else super().__new__(cls, *args, **kwargs)
        if cls.__repr__ is not AsCalled.__repr__:  # it prints something else
            return instance
        try:
            bound = inspect.signature(cls.__init__).bind(instance, *args, **kwargs)
        except TypeError:  # of wrong arguments, as the constructor will say, or of a copy, which gets its state
            return instance
        # the words, not the values, which may be large and are the constructor's to keep
        instance.__dict__["_as_called"] = as_called(cls, dict([*bound.arguments.items()][1:]))
        return instance

    def __repr__(self) -> str:
        return self._as_called or f"{type(self).__name__}(...)"


def in_columns(rows, right=()) -> str:
    """Rows of strings as lines whose cells stand below each other.

    Args:
        rows: list of lists of strings, of one length.
        right: numbers of the columns that are flush right.
    """
    widths = [max(map(len, column)) for column in zip(*rows)]
    sides = [str.rjust if number in right else str.ljust for number in range(len(widths))]
    lines = ("  ".join(side(cell, width) for side, cell, width in zip(sides, row, widths)) for row in rows)
    return "\n".join(map(str.rstrip, lines))


def as_called(kind, arguments) -> str:
    """How an object was made, without what it was not told.

    Args:
        kind: its class.
        arguments: name -> value, of its constructor.

    Example:
        >>> as_called(Mixup, {"beta": 0.4})
        'Mixup(beta=0.4)'
    """
    parameters = inspect.signature(kind.__init__).parameters
    shown = []
    for name, value in arguments.items():
        parameter = parameters.get(name)
        several = parameter is not None and parameter.kind
        if several is inspect.Parameter.VAR_POSITIONAL:
            shown += map(_written, value)
        elif several is inspect.Parameter.VAR_KEYWORD:
            shown += [f"{key}={_written(each)}" for key, each in value.items()]
        elif _differs(value, getattr(parameter, "default", None)):
            shown.append(f"{name}={_written(value)}")
    return f"{kind.__name__}({', '.join(shown)})"


def _written(value):
    if isinstance(value, np.ndarray) and value.size > FEW:
        return f"<{value.dtype} array {value.shape}>"
    if isinstance(value, (list, tuple)) and len(value) > FEW:
        return f"<{type(value).__name__} of {len(value):,}>"
    return repr(value)


def _differs(value, default):
    """Whether an argument is another than its default; of arrays it is."""
    return value is not default and (type(value) is not type(default) or np.ndim(value) > 0 or value != default)
