"""Classes by name: text that a loss reads as labels becomes numbers, the same in each data set that is told."""

import operator
import unicodedata

import numpy as np

from kzoo.data.captions import is_missing

SHOWN = 3  # of many names, those that a sentence spells out


def classes_by_column(columns, *said) -> dict:
    """The classes of the columns that hold names; of numbers there are none.

    Text is a name where no value of its column is a number or spells one: a typing error among numbers is a broken row,
    no class.

    Args:
        columns: dict of names and the values of all rows.
        *said: what says names: each a dict of columns and lists of names, whose places are the ids; or a data set,
            whose ids are taken; or None. The later goes before the others.

    Returns:
        dict by column of dicts of a name and its id: its place in the alphabet where nothing says it.

    Raises:
        TypeError: something else that shall say names.
        ValueError: a dict with a column that there is not, or with names that are none or twice there; a column of
            names of which the data set knows none; codes such as "007" and "7", which are one as numbers.
    """
    given = {}
    for each in said:
        given |= _given(each, columns)
    for name in columns.keys() - given.keys():
        _check_spellings(name, columns[name])
    found = {name: given.get(name) or _named(values) for name, values in columns.items()}
    found = {name: classes for name, classes in found.items() if classes is not None}
    known = _of_data_set(said[-1]) if said else None
    unknown = None if known is None else next((name for name in found if name not in known), None)
    if unknown is not None:
        raise ValueError(
            f"{unknown} holds names, such as {next(iter(found[unknown]))!r}, but the data set that is given as classes "
            f"has none for it, only {', '.join(known) or 'numbers'}; give a dict: {{{unknown!r}: [...]}}."
        )
    return found


def class_id(name, value, classes) -> tuple:
    """The id of a class.

    Args:
        name: of the column.
        value: the name of a class, or its id as a whole number.
        classes: dict of a name and its id.

    Returns:
        `(id, problem)`, of which one is None.

    Example:
        >>> class_id("species", "zebra", {"cat": 0, "dog": 1})
        (None, "the species is 'zebra', which is none of the classes cat, dog")
    """
    if isinstance(value, str):
        number = classes.get(_as_name(value))
    else:
        number = _whole(value)
        number = number if number is not None and 0 <= number < len(classes) else None
    if number is not None:
        return number, None
    if _is_blank(value):
        return None, f"the {name} is empty"
    return None, f"the {name} is {_shown(value)}, which is none of the {described(classes)}"


def described(names) -> str:
    """Names of classes for a sentence: all where they are few.

    Example:
        >>> described(["ape", "bee", "cat", "cow", "dog"])
        '5 classes ape, bee, cat, ...'
    """
    names = list(names)
    if len(names) <= SHOWN + 1:
        return f"classes {', '.join(names)}"
    return f"{len(names)} classes {', '.join(names[:SHOWN])}, ..."


def number_in(text) -> int | float | None:
    """The number that a text spells, None where it spells none: "1_23", which is one to Python, is a name."""
    if "_" in text:
        return None
    for read in (int, float):
        try:
            return read(text)
        except ValueError:
            continue
    return None


def _given(classes, columns):
    """What a dict or a data set says of some columns, as ids by name."""
    known = _of_data_set(classes)
    if known is not None:
        classes = {column: names for column, names in known.items() if column in columns}
    if classes is None:
        return {}
    if not isinstance(classes, dict):
        raise TypeError(
            f"classes is of type {type(classes).__name__}; give a dict of columns and names, such as {{'species': "
            "['cat', 'dog']}, or the data set whose ids these rows shall have."
        )
    return {column: _checked(column, names, columns) for column, names in classes.items()}


def _of_data_set(classes):
    """The classes of a data set, None of anything else."""
    known = getattr(classes, "classes", None)
    return known if isinstance(known, dict) else None


def _named(values):
    """Ids of the names of a column, None where it holds numbers."""
    if isinstance(values, np.ndarray) and values.dtype.kind in "biuf":
        return None
    there = [value for value in values if not _is_blank(value)]
    if not there or not all(isinstance(value, str) and number_in(value) is None for value in there):
        return None
    return {name: number for number, name in enumerate(sorted(set(map(_as_name, there))))}


def _check_spellings(column, values):
    """Stops where two codes of digits would be one number."""
    spelt = {}
    for value in values:
        text = value.strip() if isinstance(value, str) else ""
        if text.isdecimal() and spelt.setdefault(text.lstrip("0"), text) != text:
            raise ValueError(
                f"{column} holds {spelt[text.lstrip('0')]!r} and {text!r}, which are one as numbers; write them alike, "
                f"or give them as names: classes={{{column!r}: [...]}}."
            )


def _checked(column, names, columns):
    if column not in columns:
        known = f"only {', '.join(columns)}" if columns else "no column of labels"
        raise ValueError(f"classes names the column {column!r}, but there is {known}; give names for those, or none.")
    if isinstance(names, str) or not isinstance(names, (list, tuple, np.ndarray)) or not len(names):
        raise TypeError(f"the classes of {column} are {names!r}; give a list of names, in the order of their ids.")
    ids = {}
    for name in names:
        if not isinstance(name, str) or not name.strip():
            raise ValueError(f"the classes of {column} hold {name!r}, which is no name; give strings.")
        if _as_name(name) in ids:
            raise ValueError(f"the classes of {column} hold {name!r} twice; give each name once.")
        ids[_as_name(name)] = len(ids)
    return ids


def _as_name(text):
    """A name as it is compared: systems write one letter with its accent in two ways, tables have blanks around it."""
    return unicodedata.normalize("NFC", str(text).strip())


def _is_blank(value):
    """Whether a cell holds nothing; "nan" is what a missing number is called where it was made text."""
    return is_missing(value) or (isinstance(value, str) and value.strip().lower() in ("", "nan"))


def _whole(value):
    try:
        return operator.index(value)
    except TypeError:
        return None


def _shown(value):
    if isinstance(value, str):
        return repr(str(value))
    return str(value) if np.isscalar(value) else f"of type {type(value).__name__}"
