"""What an argument may be: the one place that looks at the arguments of functions and constructors. No Keras.

A kind is a test with its words; `kind(name, value)` stops with one sentence: what came, and what to give. A number
out of range or an unknown choice is a `ValueError`, an object that is neither a `TypeError`. A class says the kinds of
its constructor in a table, `arguments`, a function in `takes`.
"""

import functools
import inspect
import math
import numbers
import os
import reprlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from difflib import get_close_matches
from typing import Any, TypeVar

import numpy as np

from kzoo.files.words import spell_out
from kzoo.shown import AsCalled

Function = TypeVar("Function", bound=Callable)

LONGEST_SIDE = 2**16  # pixels of a picture
LARGEST = 2**31 - 1  # of a whole number, where nothing else is said: what int32 holds
SHOWN = 60  # characters of a value in a sentence


@dataclass(frozen=True)
class Kind:
    """What an argument may be.

    Args:
        wanted: the words of a sentence: what to give.
        wrong: function of a value to None, or to the error that it is: `TypeError` or `ValueError`.
        choices: names of which one is to be chosen.
        limit: the largest number, where the words do not name it.

    Example:
        >>> whole(1)("batch_size", "4")
        TypeError: batch_size is '4' (str); give a whole number of at least 1.
    """

    wanted: str
    wrong: Callable
    choices: tuple = ()
    limit: int | None = None

    def __call__(self, name, value) -> Any:
        """Stops unless `value` is of this kind; returns it."""
        error = self.wrong(value)
        if error is None:
            return value
        if self.choices and error is ValueError and isinstance(value, str):
            raise ValueError(f"{name} {shown(value)} is unknown; {self.asked()}{_meant(value, self.choices)}.")
        limit = f" (up to {self.limit})" if self.limit and is_whole(value) and abs(value) > self.limit else ""
        raise error(f"{name} is {shown(value, error is TypeError)}; {self.asked()}{limit}.")

    def asked(self) -> str:
        """The end of a sentence: what to give."""
        return f"{'choose' if self.wanted.startswith('one of ') else 'give'} {self.wanted}"

    def __or__(self, other) -> "Kind":
        """This kind or another one; None is one too."""
        other = NOTHING if other is None else other

        def wrong(value):
            errors = [self.wrong(value), other.wrong(value)]
            return None if None in errors else ValueError if ValueError in errors else TypeError

        limit = self.limit or other.limit
        return Kind(f"{self.wanted}, or {other.wanted}", wrong, (*self.choices, *other.choices), limit)

    def said(self, wanted) -> "Kind":
        """The same kind in other words."""
        return replace(self, wanted=wanted)


def shown(value, typed=False) -> str:
    """A value as a sentence shows it: in one short line, with its type on request.

    Example:
        >>> shown("4", typed=True), shown(np.zeros((2, 3)))
        ("'4' (str)", "an array of shape (2, 3)")
    """
    kind = type(value).__name__
    if isinstance(value, int) and not isinstance(value, bool) and value.bit_length() > 200:
        return f"a number of {value.bit_length()} bits"
    if value is None or isinstance(value, (bool, numbers.Number)):
        return f"{value!r}" + (f" ({kind})" if typed and value is not None else "")
    if isinstance(value, (str, bytes)):
        cut = value if len(value) <= SHOWN else value[:SHOWN]
        return f"{cut!r}{'' if cut is value else '...'}" + (f" ({kind})" if typed else "")
    if isinstance(value, os.PathLike):
        return repr(os.fspath(value))
    if type(value) in (list, tuple, dict, set):
        text = " ".join(_SHORT.repr(value).split())
        return f"{text[: 2 * SHOWN]}{'...' if len(text) > 2 * SHOWN else ''}" + (f" ({kind})" if typed else "")
    if isinstance(value, type):
        return f"the class {value.__name__}"
    shape = getattr(value, "shape", None)
    if isinstance(value, np.ndarray) or isinstance(shape, tuple):
        return f"an array of shape {tuple(shape)}"
    return f"of type {kind}"


class _Short(reprlib.Repr):
    """Short, and of objects within, such as arrays, the type alone."""

    def repr_instance(self, value, level) -> str:
        return repr(value) if isinstance(value, numbers.Number) else type(value).__name__


_SHORT = _Short()


def _meant(value, choices):
    near = get_close_matches(value, [each for each in choices if isinstance(each, str)], n=1)
    return f" (is {near[0]!r} meant?)" if near else ""


# ---- numbers


def is_whole(value) -> bool:
    """Whether a value is a whole number by its type: of Python or numpy, and no boolean."""
    return isinstance(value, numbers.Integral) and not isinstance(value, (bool, np.bool_))


def is_number(value) -> bool:
    """Whether a value is a real number by its type: of Python or numpy, and no boolean."""
    return isinstance(value, numbers.Real) and not isinstance(value, (bool, np.bool_))


def whole(least=None, most=None) -> Kind:
    """A whole number; 4.0 is none, and neither is True."""
    low, high = -LARGEST if least is None else least, LARGEST if most is None else most

    def wrong(value):
        if not is_whole(value):
            return ValueError if is_number(value) else TypeError
        return None if low <= value <= high else ValueError

    if least is not None and most is not None:
        return Kind(f"a whole number from {least} to {most}", wrong)
    return Kind("a whole number" if least is None else f"a whole number of at least {least}", wrong, limit=LARGEST)


def number(above=None, least=None, below=None, most=None) -> Kind:
    """A finite number within bounds that are left out (`above`, `below`) or taken in (`least`, `most`)."""

    def wrong(value):
        if not is_number(value):
            return TypeError
        if abs(value) > 1e38 or not math.isfinite(value):  # 1e38: float32
            return ValueError
        low = (above is None or value > above) and (least is None or value >= least)
        return None if low and (below is None or value < below) and (most is None or value <= most) else ValueError

    return Kind(_range_in_words(above, least, below, most), wrong)


def _range_in_words(above, least, below, most):
    low, high = above if least is None else least, below if most is None else most
    if low is None and high is None:
        return "a finite number"
    if high is None:
        return "a positive number" if above == 0 else f"a number {'above' if least is None else 'of at least'} {low}"
    if low is None:
        return f"a number {'below' if most is None else 'of at most'} {high}"
    return f"a number in {'(' if least is None else '['}{low}, {high}{')' if most is None else ']'}"


# ---- names and objects


def one_of(*choices) -> Kind:
    """One of these names."""
    kinds = {type(each) for each in choices}

    def wrong(value):
        if type(value) not in kinds:
            return TypeError
        return None if value in choices else ValueError

    wanted = f"one of {', '.join(map(str, choices))}" if len(choices) > 1 else repr(choices[0])
    return Kind(wanted, wrong, tuple(choices))


def instance(types, wanted) -> Kind:
    """An object of one of these types."""
    return Kind(wanted, lambda value: None if isinstance(value, types) else TypeError)


def able(attributes, wanted="an object") -> Kind:
    """An object with these attributes, whatever its type."""
    return Kind(wanted, lambda value: None if all(hasattr(value, each) for each in attributes.split()) else TypeError)


NOTHING = Kind("None", lambda value: None if value is None else TypeError)
FLAG = Kind("True or False", lambda value: None if isinstance(value, (bool, np.bool_)) else TypeError)
TEXT = Kind("a string", lambda value: None if isinstance(value, str) else TypeError)
NAME = Kind("a name", lambda value: (None if value.strip() else ValueError) if isinstance(value, str) else TypeError)
PATH = Kind("a path", lambda value: _wrong_path(value))
FUNCTION = Kind("a function", lambda value: None if callable(value) else TypeError)
TABLE = Kind("a dict", lambda value: None if isinstance(value, Mapping) else TypeError)


def _wrong_path(value):
    if not isinstance(value, (str, os.PathLike)):
        return TypeError
    return ValueError if not os.fspath(value).strip() or "\0" in os.fspath(value) else None


def sequence(of, wanted, least=0, most=None, rising=None) -> Kind:
    """A list or tuple (or a one-dimensional array) whose members are of a kind.

    Args:
        of: kind of each.
        wanted: the words of the whole.
        least: how many at least.
        most: how many at most; `sequence(of, wanted, 2, 2)` takes pairs.
        rising: function of the members, whether they go together, such as the smaller first.
    """

    def wrong(value):
        if isinstance(value, (str, bytes, Mapping)) or not hasattr(value, "__len__") or not hasattr(value, "__iter__"):
            return TypeError
        members = list(value)
        errors = {of.wrong(each) for each in members}
        if TypeError in errors:
            return TypeError
        if ValueError in errors or len(members) < least or (most is not None and len(members) > most):
            return ValueError
        return None if rising is None or rising(members) else ValueError

    return Kind(wanted, wrong)


def names(wanted="a sequence of names") -> Kind:
    """Names in a list or tuple; a string alone is none."""
    return sequence(NAME, wanted)


def span(of, wanted) -> Kind:
    """Two numbers, the smaller first."""
    return sequence(of, wanted, 2, 2, rising=lambda both: both[0] <= both[1])


# ---- many arguments at once


COUNT, AMOUNT = whole(1), whole(0)
POSITIVE, NOT_NEGATIVE, FINITE = number(above=0), number(least=0), number()
SHARE = number(least=0, most=1)
RATE = number(least=0, below=1)
PROBABILITY = SHARE.said("a probability, a number in [0, 1]")
INNER = number(above=0, below=1).said("a number above 0 and below 1")
TOKENIZER = able("encode special_ids", "a kzoo.preprocessing.Tokenizer")
SIDE = whole(1, LONGEST_SIDE)
SIZE = (SIDE | sequence(SIDE, "a pair", 2, 2)).said(f"a side from 1 to {LONGEST_SIDE}, or (height, width)")
GRID = sequence(COUNT, "rows and columns of patches, such as the grid of the tower", 2, 2)


def check(kinds, values, defaults=None) -> None:
    """Stops where a value is not of its kind.

    Args:
        kinds: name -> `Kind`; other values are not looked at.
        values: name -> value.
        defaults: name -> value that is always taken.
    """
    defaults = defaults or {}
    for name, value in values.items():
        kind = kinds.get(name)
        if kind is None or (name in defaults and value is defaults[name]):
            continue
        if name in defaults and defaults[name] is None and kind.wrong(None) is not None:
            kind = kind | None
        kind(name, value)


def defaults_of(signature) -> dict:
    """Name -> default of the parameters that have one."""
    parameters = signature.parameters.items()
    return {name: each.default for name, each in parameters if each.default is not inspect.Parameter.empty}


def given(signature, arguments, keywords) -> dict:
    """Name -> value of a call; nothing of one that does not fit, of which Python says what is unknown."""
    try:
        return signature.bind_partial(*arguments, **keywords).arguments
    except TypeError:
        return {}


def takes(**kinds) -> Callable[[Function], Function]:
    """Decorator of a function or method: what its arguments may be. What is the default is taken.

    Its sentences show names of files, and whatever else is in them, without what would steer a terminal.

    Example:
        >>> @takes(top_k=COUNT)
        ... def best(scores, top_k=5): ...
        >>> best(scores, top_k=0)
        ValueError: top_k is 0; give a whole number of at least 1.
    """

    def decorate(function):
        signature = inspect.signature(function)
        defaults = defaults_of(signature)
        unknown = set(kinds) - set(signature.parameters)
        if unknown:
            raise TypeError(f"{function.__qualname__} has no argument {sorted(unknown)[0]!r}.")

        @functools.wraps(function)
        def call(*arguments, **keywords):
            try:
                check(kinds, given(signature, arguments, keywords), defaults)
                return function(*arguments, **keywords)
            except (ValueError, TypeError, OSError) as error:
                spell_out(error)
                raise

        call.arguments = kinds
        return call

    return decorate


class Checked(AsCalled):
    """Mixin of plain classes, which print as they were made: `arguments`, a dict of a constructor's argument to its
    kind, is looked at before it runs.

    Example:
        >>> class Blur(Checked):
        ...     arguments = {"radius": POSITIVE}
        ...     def __init__(self, radius=1.0): ...
        >>> Blur(radius=-1)
        ValueError: radius is -1; give a positive number.
    """

    arguments = {}

    def __new__(cls, *arguments, **keywords):
        signature = inspect.signature(cls.__init__)
        check(declared(cls), given(signature, (None, *arguments), keywords), defaults_of(signature))
        return super().__new__(cls, *arguments, **keywords)


def declared(cls) -> dict:
    """The table `arguments` of a class with those of the classes that it comes from."""
    merged = {}
    for each in reversed(cls.__mro__):
        merged |= vars(each).get("arguments", {})
    return merged
