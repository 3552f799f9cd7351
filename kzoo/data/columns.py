"""What goes with a picture or text into a batch: numbers, and further pictures and texts, by the name of the column."""

import math
import operator
import os
from collections.abc import Sized
from typing import Any

import numpy as np
from PIL import Image

from kzoo.data.captions import is_missing
from kzoo.preprocessing.bags import is_bag

OLD_NAMES = {"negatives": "negative_texts"}  # as they were called before there were other sets
NUMBERS, TEXTS, IMAGES = "numbers", "texts", "images"


def set_name(name) -> str:
    """The name of a column as a set: `negatives` are `negative_texts`."""
    return OLD_NAMES.get(name, name)


def kind_of(name) -> str:
    """What a column holds, by its name: `crop_images` pictures, `counterfactual_texts` texts, others numbers."""
    ending = set_name(name).rpartition("_")[2]
    return ending if ending in (TEXTS, IMAGES) else NUMBERS


def column(name, values, count, noun) -> Any:
    """An entry of a dict source, checked: an array of numbers, or a list of pictures or texts.

    Args:
        name: of the entry.
        values: with one for each row.
        count: rows of the source.
        noun: what the source has `count` of.

    Raises:
        TypeError: no list or array.
        ValueError: another number of rows; numbers that are none.
    """
    if kind_of(name) != NUMBERS:
        values = listed(name, values)
    else:
        values = np.asarray(values)
        if values.dtype.kind not in "biuf":
            raise ValueError(
                f"{name!r} holds no numbers; leave it out of the source: a batch takes only numbers, texts that are "
                "called <prefix>_texts, and pictures that are called <prefix>_images."
            )
        values = np.atleast_1d(values)
    if len(values) != count:
        raise ValueError(f"there are {count} {noun} but {len(values)} {name}; give one for each.")
    return values


def listed(name, values) -> Any:
    """An entry of a source as a list or an array, whatever holds it, such as a column of a data frame.

    Raises:
        TypeError: a string, or what has no length.
    """
    if isinstance(values, (list, tuple, np.ndarray)):
        return values
    if isinstance(values, (str, bytes, os.PathLike, dict)) or not isinstance(values, Sized):
        shown = repr(values) if isinstance(values, str) else f"of type {type(values).__name__}"
        raise TypeError(f"the {name} of the source are {shown}, but a list or an array is expected, with one for each.")
    return list(values)


def of_captions(name, value, count) -> list:
    """What goes with each of `count` captions of an image: a list of lists of texts is one list for each caption."""
    nested = kind_of(name) == TEXTS and is_bag(value) and len(value) and all(map(is_bag, value))
    if not nested:
        return [value] * count
    if len(value) != count:
        raise ValueError(f"{name} has {len(value)} lists for an image of {count} captions; give one for each caption.")
    return list(value)


def cell(name, value, folder) -> tuple:
    """A cell of a table as a number, a text or the path of a picture, or lists of them.

    Args:
        name: of the column.
        value: what stands in the table.
        folder: that relative paths start at.

    Returns:
        `(value, problem)`, of which one is None.
    """
    if isinstance(value, list):
        found = [cell(name, each, folder) for each in value]
        problem = next((problem for _, problem in found if problem), None)
        return ([each for each, _ in found], None) if problem is None else (None, problem)
    kind = kind_of(name)
    if is_missing(value):
        return None, f"the {name} is empty"
    if kind == NUMBERS:
        return _number(name, value)
    if kind == IMAGES:
        return picture(name, value, folder)
    if not isinstance(value, str) or not value.strip():
        return None, f"the {name} is empty or no string"
    return value, None


def picture(name, value, folder) -> tuple:
    """A picture of a table: the path of a file that is there, bytes, a PIL image or an array, or what is wrong.

    Args:
        name: of the column.
        value: what stands in the table, such as what Hugging Face's data sets hold, `{"path": ..., "bytes": ...}`.
        folder: that relative paths start at.

    Returns:
        `(value, problem)`, of which one is None.
    """
    if isinstance(value, dict) and value.keys() <= {"path", "bytes"}:
        value = value.get("bytes") or value.get("path")
    if is_missing(value) or (isinstance(value, str) and not value.strip()):
        return None, f"the {name} is empty"
    if isinstance(value, (str, os.PathLike)):
        path = folder / value  # an absolute path stays as it is
        return (path, None) if is_file(path) else (None, f"there is no image file {path}")
    if isinstance(value, (bytes, np.ndarray, Image.Image)):
        return value, None
    return None, f"the {name} is no path of a file but of type {type(value).__name__}"


def is_file(path) -> bool:
    """Whether there is a file; no name that a system refuses, such as one too long, is one."""
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False


def _number(name, value):
    if isinstance(value, (bool, np.bool_)):
        return bool(value), None
    for read in (int, float):
        try:
            number = read(value) if isinstance(value, str) or read is float else operator.index(value)
        except (TypeError, ValueError, OverflowError):
            continue
        if math.isnan(number):
            return None, f"the {name} is empty"
        if isinstance(number, int) and abs(number) >= 2**63:
            return None, f"the {name} is {number}, which is no number of 64 bits"
        return number, None
    return None, f"the {name} is {value!r}, which is no number"
