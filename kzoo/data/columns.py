"""What goes with a picture or text into a batch: numbers, and further pictures and texts, by the name of the column."""

import math
import operator
import os
from collections.abc import Sized
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from kzoo.data.captions import is_missing
from kzoo.data.classes import class_id, classes_by_column, number_in
from kzoo.data.held import HeldPicture
from kzoo.preprocessing.bags import is_bag
from kzoo.types import Array

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
    """An entry of a dict source, checked: an array of numbers, or a list of pictures, of texts or of labels in words.

    Args:
        name: of the entry.
        values: with one for each row.
        count: rows of the source.
        noun: what the source has `count` of.

    Returns:
        An array of numbers, or a list or array of what stands in each row.

    Raises:
        TypeError: no list or array.
        ValueError: another number of rows; what is neither numbers nor text.
    """
    if kind_of(name) != NUMBERS:
        values = listed(name, values)
    elif _is_text(values):
        values = list(listed(name, values))
    else:
        values = in_one_array(name, values)
        if values.dtype.kind not in "biuf":
            raise ValueError(
                f"{name!r} holds neither numbers nor a name of a class for each row; leave it out of the source: a "
                "batch takes only these, texts that are called <prefix>_texts, and pictures that are called "
                "<prefix>_images."
            )
        values = np.atleast_1d(values)
    if len(values) != count:
        raise ValueError(f"there are {count} {noun} but {len(values)} {name}; give one for each.")
    return values


def entries(columns, count, noun, *classes) -> dict:
    """Entries of a source as arrays of numbers; names of classes as their ids.

    Args:
        columns: dict of names and values, one for each row.
        count, noun: see `column`.
        *classes: what says names of classes, see `classes_by_column`.

    Returns:
        `(arrays, classes)`: dict by name of arrays with a row for each, and what `classes_by_column` gives.

    Raises:
        TypeError, ValueError: see `column` and `classes_by_column`; a row without a number or a known name.
    """
    read = {name: column(name, values, count, noun) for name, values in columns.items()}
    found = classes_by_column(read, *classes)
    return {name: _numbers(name, values, found.get(name)) for name, values in read.items()}, found


def _numbers(name, values, classes):
    if isinstance(values, np.ndarray) and classes is None:
        return values
    read = [cell(name, value, Path(), classes) for value in values]
    broken = next((index for index, (_, problem) in enumerate(read) if problem), None)
    if broken is not None:
        raise ValueError(f"row {broken}: {read[broken][1]}; mend the source.")
    return in_one_array(name, [value for value, _ in read])


def in_one_array(name, values) -> Array:
    """The numbers of some rows as one array.

    Raises:
        ValueError: lists of different lengths.
    """
    try:
        return np.asarray(values)
    except ValueError as error:
        raise ValueError(f"the rows of {name} have different lengths; give as many numbers in each.") from error


def listed(name, values) -> Any:
    """An entry of a source as a list or an array, whatever holds it, such as a column of a data frame.

    Raises:
        TypeError: a string, or what has no length.
    """
    if isinstance(values, (list, tuple, np.ndarray)):
        return values
    if isinstance(values, (str, bytes, os.PathLike, dict, set, frozenset)) or not isinstance(values, Sized):
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


def cell(name, value, folder, classes=None) -> tuple:
    """A cell of a table as a number, a text or the path of a picture, or lists of them; or as the id of a class.

    Args:
        name: of the column.
        value: what stands in the table.
        folder: that relative paths start at.
        classes: of the column, a dict of a name and its id, or None.

    Returns:
        `(value, problem)`, of which one is None.
    """
    if classes is not None:
        return class_id(name, value, classes)
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
    if isinstance(value, HeldPicture):
        return value, None
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


def opened(value) -> Any:
    """A picture that a data set of another library holds, read now; any other as it is.

    Raises:
        ValueError: a picture that cannot be read.
    """
    if not isinstance(value, HeldPicture):
        return value
    found, problem = picture(value.column, value.read(), Path())
    if problem:
        raise ValueError(f"{problem}.")
    return found


def _is_text(values):
    """Whether there is a string among some values; what is no list is said elsewhere."""
    if isinstance(values, np.ndarray):
        return values.ndim == 1 and values.dtype.kind in "OUT" and any(isinstance(each, str) for each in values)
    return isinstance(values, Sized) and not isinstance(values, dict) and any(isinstance(each, str) for each in values)


def _number(name, value):
    if isinstance(value, (bool, np.bool_)):
        return bool(value), None
    if isinstance(value, str):
        number = number_in(value)
        if number is None and value.strip():
            return None, (
                f"the {name} is {str(value)!r}, which is no number; names of classes are alone in their column, or "
                f"given: classes={{{name!r}: [...]}}"
            )
    else:
        number = _as_number(value)
        if number is None:
            return None, f"the {name} is {value!r}, which is no number"
    if isinstance(number, int) and abs(number) >= 2**63:
        return None, f"the {name} is {number}, which is no number of 64 bits"
    if number is None or math.isnan(number):
        return None, f"the {name} is empty"
    return number, None


def _as_number(value):
    for read in (operator.index, float):
        try:
            return read(value)
        except (TypeError, ValueError, OverflowError):
            continue
    return None
