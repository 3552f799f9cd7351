"""Patterns that choose among paths of parameters: one grammar for freezing, adapters and checkpoint maps. No Keras.

A pattern names a parameter, or a layer for all that is within it:

- `*` stands for one part of a path, or for some of its letters: `blocks.*`, `norm_*`;
- `**` for any number of parts, none included: `**.bias`;
- `{query,value}` for either, with dots and braces within as may be: `{attention.{query,value},mlp_up}`;
- a negative number counts from the end of a list: `blocks.-1`; `{8..11}` and `{-2..-1}` are all numbers from one to the
  other, `{n}` is any number, as in the maps of checkpoints.
"""

import math
import re
from collections.abc import Iterator
from difflib import get_close_matches
from itertools import product

from kzoo.arguments import NAME, sequence

PATTERNS = sequence(NAME, "patterns of paths, such as '**.bias'")
NEAR, MOST = 5, 4096  # names in a sentence; what the braces of one pattern may make
RANGE = re.compile(r"(-?\d+)\.\.(-?\d+)")


def matching(patterns, found, what="parameter") -> list:
    """Those of some parameters that patterns name, in their own order.

    Args:
        patterns: list of strings.
        found: list of `Parameter`, or of anything with `parts`.
        what: they are called in a sentence.

    Raises:
        ValueError: a pattern, or an alternative in its braces, that names none of them; the sentence has the nearest.

    Example:
        >>> [each.path for each in matching(["image_encoder.blocks.-1.norm_1"], parameters(model))]
        ['image_encoder.blocks.11.norm_1.gamma', 'image_encoder.blocks.11.norm_1.beta']
    """
    chosen = set()
    for pattern in patterns:
        hits, unheard, first = set(), {}, None
        for plain, choices in _expanded(pattern):
            steps = _steps(plain)
            own = {number for number, each in enumerate(found) if _fits(steps, each.parts)}
            first = first or (None if own else plain)
            for choice in choices:
                unheard[choice] = unheard.get(choice, True) and not own
            hits |= own
        if not hits or any(unheard.values()):
            raise ValueError(
                _nothing(pattern, first, [choice for choice, silent in unheard.items() if silent], found, what)
            )
        chosen |= hits
    return [each for number, each in enumerate(found) if number in chosen]


def _expanded(pattern) -> Iterator:
    """`(pattern without braces, choices)` for each way through the braces; a choice is a place and what is there."""
    pieces = _pieces(pattern, pattern)
    count = math.prod(map(len, pieces))
    if count > MOST:
        raise ValueError(f"the pattern {pattern!r} has {count:,} alternatives, more than {MOST:,}; put a * there.")
    for way in product(*pieces):
        choices = [(place, text) for place, text in enumerate(way) if len(pieces[place]) > 1]
        yield "".join(way), choices


def _pieces(text, pattern):
    """The alternatives of each stretch of a pattern, in a list each."""
    pieces, start, depth, opened = [], 0, 0, 0
    for place, letter in enumerate(text):
        if letter == "{":
            if not depth:
                pieces, opened = [*pieces, [text[start:place]]], place + 1
            depth += 1
        elif letter == "}":
            depth -= 1
            if depth < 0:
                break
            if not depth:
                pieces, start = [*pieces, _alternatives(text[opened:place], pattern)], place + 1
    if depth:
        raise ValueError(f"the pattern {pattern!r} has a brace too many; each {{ needs its }}.")
    return [*pieces, [text[start:]]]


def _alternatives(text, pattern):
    if text == "n":
        return ["{n}"]
    if bounds := RANGE.fullmatch(text):
        first, last = map(int, bounds.groups())
        if last - first >= MOST or last < first:
            raise ValueError(f"the pattern {pattern!r} has the range {{{text}}}; give the smaller number first.")
        return [str(number) for number in range(first, last + 1)]
    parts, depth = [""], 0
    for letter in text:
        depth += {"{": 1, "}": -1}.get(letter, 0)
        if letter == "," and not depth:
            parts.append("")
        else:
            parts[-1] += letter
    return list(dict.fromkeys("".join(way) for part in parts for way in product(*_pieces(part, pattern))))


def _steps(plain):
    """What the parts of a path have to be: None for any number of parts, else a regular expression. What is within a
    layer is named with it, so that a last `**` is one part."""
    parts = plain.split(".")
    return [None if part == "**" else _step(part) for part in parts[:-1]] + [_step(parts[-1])]


def _step(part):
    return re.compile(r"\d+" if part == "{n}" else re.escape(part).replace(r"\*", "[^.]*"))


def _fits(steps, parts) -> bool:
    """Whether steps lead to a parameter or to a layer around it."""
    places = {0}  # in `steps`, of what has been gone through so far
    for part in parts:
        places = _past(steps, places)
        if len(steps) in places:
            return True
        through = {place for place in places if steps[place] is None}
        places = through | {
            place + 1
            for place in places
            if steps[place] is not None and any(steps[place].fullmatch(way) for way in part)
        }
        if not places:
            return False
    return len(steps) in _past(steps, places)


def _past(steps, places):
    """The places with those that a `**` of no part leads to."""
    places = set(places)
    for place in sorted(places):
        while place < len(steps) and steps[place] is None:
            place += 1
            places.add(place)
    return places


def _nothing(pattern, plain, silent, found, what) -> str:
    """The sentence for a pattern that names nothing: how far it leads, and the nearest names there."""
    steps, reached = plain.split(".") if plain else [""], ""
    for end in range(1, len(steps) + 1):
        if not any(_fits(_steps(".".join(steps[:end])), each.parts) for each in found):
            break
        reached = ".".join(steps[:end])
    wanted = next((part for part in steps[end - 1 :] if "*" not in part), steps[-1])
    before = steps[: end - 1]
    if "**" in steps[:end]:
        known = {part[0] for each in found for part in each.parts}
    else:
        within = [
            each for each in found if len(each.parts) >= end and (not before or _fits(_steps(reached), each.parts))
        ]
        known = {each.parts[end - 1][0] for each in within}
    near = get_close_matches(wanted, sorted(known), NEAR) or sorted(known, key=lambda name: (name.isdigit(), name))
    more = f" and {len(near) - NEAR} more" if len(near) > NEAR else ""
    alternatives = ", ".join(text for _, text in silent[:NEAR]) + (", ..." if len(silent) > NEAR else "")
    said = f" ({alternatives} in its braces)" if alternatives and "{" in pattern else ""
    where = f"; behind {reached!r} there is" if reached else "; the nearest names are"
    return f"the pattern {pattern!r} names no {what}{said}{where} {', '.join(near[:NEAR])}{more}."
