"""JSON of any origin, read in one way: what is ambiguous, endless or no number is refused with a sentence."""

import json
import math
from collections import Counter
from typing import Any

from kzoo.files import limits
from kzoo.files.opening import read_text
from kzoo.files.words import said_by


def read_json(path, limit=None, finite=True) -> Any:
    """The content of a JSON file.

    Args:
        path: of a regular file in UTF-8.
        limit: bytes that it may have; default `limits.CONFIG`.
        finite: whether NaN and infinities are refused.

    Raises:
        ValueError: no JSON, a key that stands twice in an object, NaN or an infinity, objects in objects beyond
            `limits.DEPTH`, another encoding.

    Example:
        >>> config = read_json(folder / "config.json")
    """
    return parse_json(read_text(path, limits.CONFIG if limit is None else limit), path, finite)


def read_object(path, limit=None, finite=True) -> dict:
    """The content of a JSON file that holds an object; for the rest see `read_json`."""
    content = read_json(path, limit, finite)
    if not isinstance(content, dict):
        raise ValueError(f"{path} holds no JSON object.")
    return content


def parse_json(text, place, finite=True, **options) -> Any:
    """The content of a JSON text.

    Args:
        text: string.
        place: what to call it in a sentence.
        finite: whether NaN and infinities are refused.
        options: of `json.loads`, such as `parse_float`.

    Raises:
        ValueError: see `read_json`.
    """
    try:
        constant = _refused if finite else float
        content = json.loads(text, object_pairs_hook=_object, parse_constant=constant, **options)
    except _Refused as error:
        raise ValueError(f"{place} {error}.") from error
    except RecursionError as error:
        raise ValueError(_too_deep(place)) from error
    except ValueError as error:
        raise ValueError(f"{place} is not JSON: {said_by(error)}.") from error
    check_content(content, place, finite)
    return content


class _Refused(ValueError):
    """JSON that Python would read and nobody can have meant."""


def _object(pairs):
    found = dict(pairs)
    if len(found) != len(pairs):
        twice = next(key for key, count in Counter(key for key, _ in pairs).items() if count > 1)
        raise _Refused(f"has the key {twice[:100]!r} twice in one object")
    return found


def _refused(name):
    raise _Refused(f"holds {name}, which is no number of JSON")


def check_content(content, place, finite=True) -> None:
    """Stops where objects and lists go too deep, or where a number is none; see `parse_json`."""
    level, depth = [content], 0
    while level:
        if depth > limits.DEPTH:
            raise ValueError(_too_deep(place))
        below = []
        for each in level:
            if isinstance(each, dict):
                below.extend(each.values())
            elif isinstance(each, list):
                below.extend(each)
            elif finite and isinstance(each, float) and not math.isfinite(each):
                raise ValueError(f"{place} holds {each}, where a finite number is expected.")
        level, depth = below, depth + 1


def _too_deep(place):
    return f"{place} holds more than {limits.DEPTH} objects and lists within each other, as no file of its kind does."
