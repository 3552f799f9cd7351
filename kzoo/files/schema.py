"""What the fields of a file may be: a table for each kind of file, and one way to say what does not fit.

A table is an `Object` of rules by key. A rule has `problems(value, place)`, which yields a sentence for each thing that
is wrong, so that a file can be told everything at once; `check` stops with the first. What a caller gives is
looked at by `kzoo.arguments`; a rule is of what JSON can hold, and its limits may be raised after it was made.

Example:
    >>> STEPS = Object({"image_size": SIZE, "resize": choice("shortest", "squash")}, needs=("image_size",))
    >>> check({"image_size": -1}, STEPS, "config.json")
    ValueError: config.json says image_size=-1, but a whole number from 1 to 16,384 is expected, or two of them.
"""

import json
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from kzoo.arguments import is_whole
from kzoo.files import limits
from kzoo.files.words import on_one_line

SHOWN = 80  # characters of a value that a sentence shows


def check(content, rule, place) -> None:
    """Stops with the first thing that is wrong with the content of a file.

    Args:
        content: as JSON gives it.
        rule: a `Rule`, `Object`, `Each` or `Items`.
        place: name of the file, for the sentence.

    Raises:
        ValueError: it names file, key, value and what is expected.
    """
    problem = next(rule.problems(content, place), None)
    if problem is not None:
        raise ValueError(problem)


@dataclass(frozen=True)
class Rule:
    """A value without parts.

    Args:
        words: what is expected, such as `"a whole number"`, or a function that gives it.
        accepts: function of a value.
    """

    words: Callable | str
    accepts: Callable

    def __str__(self) -> str:
        return self.words if isinstance(self.words, str) else self.words()

    def problems(self, value, place, key=None) -> Iterator[str]:
        if not self.accepts(value):
            says = f"{place} is {shown(value)}" if key is None else f"{place} says {on_one_line(key)}={shown(value)}"
            yield f"{says}, but {self} is expected."

    def __or__(self, other) -> "Rule":
        return Rule(lambda: f"{self} or {other}", lambda value: self.accepts(value) or other.accepts(value))


@dataclass(frozen=True)
class Object:
    """An object with named fields.

    Args:
        fields: key -> rule.
        needs: keys that must be there.
        closed: whether other keys than those of `fields` are refused.
        nullable: whether null may stand in its place.
    """

    fields: dict = field(default_factory=dict)
    needs: tuple = ()
    closed: bool = False
    nullable: bool = False

    def problems(self, value, place, key=None) -> Iterator[str]:
        place = place if key is None else f"{place}, {on_one_line(key)}"
        if value is None and self.nullable:
            return
        if not isinstance(value, dict):
            yield f"{place} holds {written(value)}, but an object is expected."
            return
        missing = [name for name in self.needs if name not in value]
        if missing:
            yield f"{place} lacks {', '.join(missing)}."
        unknown = [str(name) for name in value if name not in self.fields] if self.closed else []
        if unknown:
            yield f"{place} has a key {shown(unknown[0])} that is not known; known are {', '.join(self.fields)}."
        for name, rule in self.fields.items():
            if name in value:
                yield from rule.problems(value[name], place, name)


@dataclass(frozen=True)
class Each:
    """An object whose keys are names, each with a value of one kind."""

    rule: object

    def problems(self, value, place, key=None) -> Iterator[str]:
        place = place if key is None else f"{place}, {on_one_line(key)}"
        if not isinstance(value, dict):
            yield f"{place} holds {written(value)}, but an object is expected."
            return
        for name, inner in value.items():
            yield from self.rule.problems(inner, place, name)


@dataclass(frozen=True)
class Items:
    """A list whose items are of one kind."""

    rule: object

    def problems(self, value, place, key=None) -> Iterator[str]:
        if not isinstance(value, list):
            says = f"{place} is {shown(value)}" if key is None else f"{place} says {on_one_line(key)}={shown(value)}"
            yield f"{says}, but a list is expected."
            return
        for number, inner in enumerate(value):
            yield from self.rule.problems(inner, place if key is None else f"{place}, {key}", f"item {number}")


def shown(value) -> str:
    """A value in a sentence, cut where it is long."""
    if isinstance(value, int) and abs(value) >= 10**SHOWN:
        return f"a whole number of more than {SHOWN} digits"
    text = repr(value)
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}..."


def written(value) -> str:
    """A value as JSON writes it, cut where it is long."""
    text = json.dumps(value, default=str)
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}..."


def is_number(value) -> bool:
    """Whether a value is a finite number that a float can be."""
    return (is_whole(value) and abs(value) < 2**63) or (isinstance(value, float) and math.isfinite(value))


def whole(low, limit) -> Rule:
    """A whole number in a range that ends at a limit, one of `kzoo.files.limits` by its name, which may be raised."""

    def highest():
        return getattr(limits, limit)

    return Rule(
        lambda: f"a whole number from {low:,} to {highest():,}",
        lambda value: is_whole(value) and low <= value <= highest(),
    )


def number(low, high, beyond=False) -> Rule:
    """A finite number in a range; `beyond`: which it must exceed at its lower end."""
    return Rule(
        f"a number {'above' if beyond else 'from'} {low:g} {'and up ' if beyond else ''}to {high:g}",
        lambda value: is_number(value) and (low < value if beyond else low <= value) and value <= high,
    )


def choice(*known) -> Rule:
    """One of a few things."""
    words = f"one of {', '.join(map(json.dumps, known))}" if len(known) > 1 else json.dumps(known[0])
    return Rule(words, lambda value: any(value == each and type(value) is type(each) for each in known))


def several(rule, low, high=None) -> Rule:
    """A list of so many values of one kind."""
    high = low if high is None else high
    count = str(low) if low == high else f"{low} to {high}"
    return Rule(
        lambda: f"a list of {count}, each {rule},",
        lambda value: isinstance(value, list) and low <= len(value) <= high and all(map(rule.accepts, value)),
    )


NULL = Rule("null", lambda value: value is None)
FLAG = Rule("true or false", lambda value: isinstance(value, bool))
TEXT = Rule("a string", lambda value: isinstance(value, str))
OBJECT = Rule("an object", lambda value: isinstance(value, dict))
LIST = Rule("a list", lambda value: isinstance(value, list))

SIDE = whole(1, "SIDE")
SIZE = Rule(lambda: f"{SIDE} or a list of two", lambda value: SIDE.accepts(value) or several(SIDE, 2).accepts(value))
WIDTH = whole(1, "WIDTH")
BLOCKS = whole(0, "BLOCKS")
LENGTH = whole(1, "LENGTH")
TOKENS = whole(1, "TOKENS")
ID = whole(0, "TOKENS")
RATE = Rule("a number from 0 up to 1", lambda value: is_number(value) and 0 <= value < 1)
EPSILON = number(0.0, 1.0, beyond=True)
MEANS = several(number(-255.0, 255.0), 3)
DEVIATIONS = several(number(1e-6, 255.0), 3)  # pixels are divided by them
