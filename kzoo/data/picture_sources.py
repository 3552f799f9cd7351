"""Where views come from: pictures in folders, lists, arrays and data sets, with what goes with each as an array."""

import os
from pathlib import Path

import numpy as np

from kzoo.data.classes import class_id, classes_by_column
from kzoo.data.columns import NUMBERS, entries, kind_of, listed
from kzoo.data.folders import folder_classes, pictures_of
from kzoo.data.held import held
from kzoo.data.tables import records_of

LABELS = "labels"  # how the classes of folders are called in a batch


def read_pictures(source, image_key="image", columns=(), classes=None) -> tuple:
    """Read any source of pictures.

    Args:
        source, image_key, columns, classes: see `kzoo.data.views`.

    Returns:
        `(images, entries, classes)`: a list or array of pictures; arrays with a row for each, by name; and of the
        entries that were names of classes a dict of ids by name.

    Raises:
        TypeError: a source of another type.
        ValueError: no folder, no pictures in it, columns that are not there; rows without a number or a known name.
    """
    columns = (columns,) if isinstance(columns, str) else tuple(columns)
    if isinstance(source, (str, os.PathLike)):
        _refuse(columns, f"{source} is a folder")
        return _from_folder(Path(source), classes)
    if records_of(source) is not None:
        raise TypeError(
            f"the source is a table of type {type(source).__name__}, but pictures are expected; give its columns as a "
            "dict: {'images': list(table['image']), 'labels': ...}."
        )
    rows = held(source)
    if rows is not None:
        return _from_held(rows, image_key, columns, classes)
    if not isinstance(source, dict):
        _refuse(columns, "the source is of pictures alone")
        classes_by_column({}, classes)  # stops where some are given
        return listed("images", source), {}, {}
    if "images" not in source:
        raise ValueError(f"the source is a dict of {', '.join(source)} without images; give the pictures as 'images'.")
    lacking = next((name for name in columns if name not in source), None)
    if lacking is not None:
        raise ValueError(f"the source is a dict of {', '.join(source)} without {lacking!r}, which columns= names.")
    others = {name: values for name, values in source.items() if name != "images"}
    return _with_entries(listed("images", source["images"]), others, classes)


def _from_folder(folder, classes):
    if not folder.is_dir():
        raise ValueError(f"{folder} is no folder; give one with pictures, a list or array of pictures, or a dict.")
    images = pictures_of(folder)
    names = folder_classes(folder, images, fewest=2 if classes is None else 1)
    if names is None:
        classes_by_column({}, classes)  # stops where some are given
        return images, {}, {}
    found = classes_by_column({LABELS: names}, {LABELS: sorted(set(names))}, classes)
    read = [class_id(LABELS, name, found[LABELS]) for name in names]
    broken = next(((path, problem) for path, (_, problem) in zip(images, read) if problem), None)
    if broken is not None:
        raise ValueError(f"{broken[0]}: {broken[1]}; take the folder away, or give its name among the classes.")
    return images, {LABELS: np.array([number for number, _ in read])}, found


def _from_held(rows, image_key, columns, classes):
    rows.check((image_key, *columns), "image_key= or columns=")
    columns = list(dict.fromkeys([*rows.labelled(), *columns]))
    others = {name: rows.values(name) for name in columns}
    return _with_entries(rows.pictures(image_key), others, rows.classes(columns), classes)


def _with_entries(images, others, *classes):
    """Pictures with their other entries, as arrays of numbers."""
    for name in others:
        if kind_of(name) != NUMBERS:
            raise ValueError(f"{name!r} are no numbers; leave them out of the source, views are of one picture each.")
    return images, *entries(others, len(images), "images", *classes)


def _refuse(columns, what):
    if columns:
        raise ValueError(f"{what}, which has no columns {', '.join(columns)}; take a dict with 'images' and these.")
