"""Patterns with braces, `"data-{0000..0999}.tar"`, counted before a name of them is made."""

import re

from kzoo.extras import require
from kzoo.files import limits
from kzoo.files.words import on_one_line

RANGE = re.compile(r"(-?\d+)\.\.(-?\d+)(?:\.\.-?(\d+))?")
LETTERS = re.compile(r"[A-Za-z]\.\.[A-Za-z](?:\.\.-?\d+)?")
ALPHABET = 52  # letters in a range of them at most
DIGITS = 18  # of a number in a range


def braced(name) -> list[str]:
    """The names that a pattern stands for, in order; a name without braces stands for itself.

    Args:
        name: a pattern as the shell and WebDataset read it, `{0..9}`, `{a,b}`, also within each other.

    Raises:
        ValueError: more than `limits.SHARDS`, more than `limits.DEPTH` within each other, one that is not closed.

    Example:
        >>> braced("{train,val}-{00..01}.tar")
        ['train-00.tar', 'train-01.tar', 'val-00.tar', 'val-01.tar']
    """
    if "{" not in name:
        return [name]
    _check_count(name)
    braces = require("braceexpand", "shards", "A pattern with braces")
    try:
        return list(braces.braceexpand(name))
    except braces.UnbalancedBracesError as error:
        raise ValueError(f"the pattern {_short(name)} has a brace that is not closed.") from error


def _check_count(name):
    """The library makes all names of an inner brace before the first of the whole is given."""
    groups = [[0, 1, 0]]  # of each open brace: names of its parts so far, of the part that is read, where it begins
    place = 0
    while place < len(name):
        each = name[place]
        place += 2 if each == "\\" else 1
        if each == "{":
            groups.append([0, 1, place])
        elif each == "," and len(groups) > 1:
            groups[-1][0], groups[-1][1] = sum(groups[-1][:2]), 1
        elif each == "}" and len(groups) > 1:
            before, last, start = groups.pop()
            groups[-1][1] *= _count_of_range(name[start : place - 1]) or before + last
        if len(groups) > limits.DEPTH:
            raise ValueError(
                f"the pattern {_short(name)} has more than {limits.DEPTH} braces within each other; "
                "kzoo.files.limits.DEPTH raises that."
            )
        if sum(groups[-1][:2]) > limits.SHARDS:
            raise ValueError(
                f"the pattern {_short(name)} stands for more than {limits.SHARDS:,} shards; "
                "kzoo.files.limits.SHARDS raises that."
            )


def _count_of_range(text):
    """How many numbers or letters a range has, None of what is none."""
    if LETTERS.fullmatch(text):
        return ALPHABET
    found = RANGE.fullmatch(text)
    if found is None:
        return None
    if max(map(len, filter(None, found.groups()))) > DIGITS:
        return limits.SHARDS + 1
    first, last, step = (int(each or 1) for each in found.groups())
    return abs(last - first) // (step or 1) + 1


def _short(name):
    return on_one_line(name if len(name) <= 200 else f"{name[:200]}...")
