"""What classifiers are made of, looked at: embeddings, labels, names of classes. In numpy."""

from collections.abc import Iterable

import numpy as np

from kzoo.arguments import shown
from kzoo.evaluation.directions import directions
from kzoo.types import Array


def rows_of(value, name="embeddings", dim=None, unit=True) -> Array:
    """Embeddings as float32 `(n, dim)`.

    Args:
        value: array, or nested lists.
        name: of the argument, for the sentence.
        dim: channels that they must have; None for any.
        unit: whether they are brought to unit length.

    Raises:
        TypeError: no numbers.
        ValueError: another shape, none, another width; a row that is not finite or, where `unit`, zero.
    """
    rows = _numbers(name, value, "a float array (n, dim), such as model.encode_image gives")
    if rows.ndim != 2 or not rows.size:
        raise ValueError(f"{name} has shape {rows.shape}; give a float array (n, dim) of at least one row.")
    if dim is not None and rows.shape[1] != dim:
        raise ValueError(f"{name} has {rows.shape[1]} channels, but {dim} are expected; embed with the same model.")
    rows = rows.astype("float32")
    if unit:
        return directions(rows, name)
    if not np.isfinite(rows).all():
        row = int(np.argwhere(~np.isfinite(rows))[0, 0])
        raise ValueError(f"row {row} of {name} is not finite; embed it again.")
    return rows


def labels_of(value, count, num_classes=None, unknown=False, name="labels") -> Array:
    """Labels as int64 `(count,)`.

    Args:
        value: array or list of whole numbers.
        count: how many there must be.
        num_classes: they must be below; None for any.
        unknown: whether -1 stands for a row without a label.
        name: of the argument, for the sentence.

    Raises:
        TypeError: no whole numbers.
        ValueError: another number of them, or one out of range.
    """
    labels = _numbers(name, value, "whole numbers, the place of its class for each row")
    if labels.dtype.kind not in "iu":
        raise TypeError(f"{name} are of {labels.dtype}; give whole numbers, the place of its class for each row.")
    if labels.shape != (count,):
        raise ValueError(f"{name} have shape {labels.shape} for {count} rows of embeddings; give one label per row.")
    lowest = -1 if unknown else 0
    wrong = (labels < lowest) | (labels >= (np.inf if num_classes is None else num_classes))
    if wrong.any():
        row = int(np.argmax(wrong))
        most = "" if num_classes is None else f" to {num_classes - 1}"
        raise ValueError(f"label {row} is {labels[row]}; give whole numbers from {lowest}{most}, places of classes.")
    return labels.astype("int64")


def classes_of(names, count=None) -> tuple:
    """Names of classes.

    Args:
        names: list of strings, all different; None for `"0"`, `"1"`, ...
        count: how many there must be; None for any.

    Raises:
        TypeError: something else than strings in a list.
        ValueError: fewer than two, a name twice, another number of them.
    """
    names = [str(place) for place in range(count or 0)] if names is None else names
    if isinstance(names, (str, bytes)) or not isinstance(names, Iterable):
        raise TypeError(f"classes is {shown(names, True)}; give a list of names.")
    names = tuple(names)
    for each in names:
        if not isinstance(each, str):
            raise TypeError(f"classes holds {shown(each, True)}; give a list of names.")
    if count is not None and len(names) != count:
        raise ValueError(f"classes has {len(names)} names, but there are {count} classes; give a name for each.")
    if len(names) < 2:
        raise ValueError(f"there is {len(names) or 'no'} class; give at least two to choose from.")
    if len(set(names)) < len(names):
        twice = next(each for each in names if names.count(each) > 1)
        raise ValueError(f"classes has {twice!r} twice; give each class a name of its own.")
    return names


def examples_of(embeddings, labels, classes=None, count=None, unit=True) -> tuple:
    """Pictures of each class: `(embeddings, labels, classes)`, as `rows_of`, `labels_of` and `classes_of` give them.

    Args:
        embeddings, labels, classes: as given.
        count: classes that are known otherwise, such as by their texts; None: of the names, or else of the labels.
        unit: as in `rows_of`.

    Raises:
        ValueError: a class without a picture; and see those three.
    """
    rows = rows_of(embeddings, unit=unit)
    if count is None and classes is not None:
        count = len(classes_of(classes))
    labels = labels_of(labels, len(rows), count)
    classes = classes_of(classes, int(labels.max()) + 1 if count is None else count)
    missing = np.flatnonzero(np.bincount(labels, minlength=len(classes)) == 0)
    if len(missing):
        more = f", and {len(missing) - 1} more classes have none" if len(missing) > 1 else ""
        raise ValueError(f"class {classes[missing[0]]!r} has no picture{more}; give at least one of each class.")
    return rows, labels, classes


def means_of(rows, labels, count) -> Array:
    """The mean row of each class, float64 `(count, dim)`."""
    sums = np.zeros((count, rows.shape[1]))
    np.add.at(sums, labels, rows.astype("float64"))
    return sums / np.bincount(labels, minlength=count)[:, None]


def _numbers(name, value, wanted):
    try:
        array = np.asarray(value)
    except ValueError as error:  # nested lists of different lengths
        raise ValueError(f"{name} has rows of different lengths; give {wanted}.") from error
    if array.dtype.kind not in "fiu":
        raise TypeError(f"{name} is {shown(value, True)}; give {wanted}.")
    return array
