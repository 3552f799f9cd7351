"""What goes with a picture or text into a batch: numbers, and further pictures and texts, by the name of the column."""

import numpy as np

from kzoo.preprocessing.bags import is_bag

OLD_NAMES = {"negatives": "negative_texts"}  # as they were called before there were other sets
NUMBERS, TEXTS, IMAGES = "numbers", "texts", "images"


def set_name(name):
    """The name of a column as a set: `negatives` are `negative_texts`."""
    return OLD_NAMES.get(name, name)


def kind_of(name):
    """What a column holds, by its name: `crop_images` pictures, `counterfactual_texts` texts, others numbers."""
    ending = set_name(name).rpartition("_")[2]
    return ending if ending in (TEXTS, IMAGES) else NUMBERS


def column(name, values, count, noun):
    """An entry of a dict source, checked: an array of numbers, or a list of pictures or texts.

    Args:
        name: of the entry.
        values: with one for each row.
        count: rows of the source.
        noun: what the source has `count` of.

    Raises:
        ValueError: another number of rows; numbers that are none.
    """
    if kind_of(name) == NUMBERS:
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


def of_captions(name, value, count):
    """What goes with each of `count` captions of an image: a list of lists of texts is one list for each caption."""
    nested = kind_of(name) == TEXTS and is_bag(value) and len(value) and all(map(is_bag, value))
    if not nested:
        return [value] * count
    if len(value) != count:
        raise ValueError(f"{name} has {len(value)} lists for an image of {count} captions; give one for each caption.")
    return list(value)


def cell(name, value, folder):
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
    if kind == NUMBERS:
        return _number(name, value)
    if not isinstance(value, str) or not value:
        return None, f"the {name} is empty or no string"
    if kind == TEXTS:
        return value, None
    path = folder / value
    return (path, None) if path.is_file() else (None, f"there is no image file {path}")


def _number(name, value):
    if isinstance(value, (bool, int, float)):
        return value, None
    for read in (int, float):
        try:
            return read(value), None
        except (TypeError, ValueError):
            continue
    return None, f"the {name} is {value!r}, which is no number"
