"""Where pairs come from: arrays, tables, folders. Each becomes a list of rows; broken rows are listed."""

import os
import re
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from kzoo.data.captions import captions_of, is_missing
from kzoo.data.classes import classes_by_column
from kzoo.data.columns import (
    IMAGES,
    NUMBERS,
    cell,
    column,
    in_one_array,
    is_file,
    kind_of,
    listed,
    of_captions,
    picture,
    set_name,
)
from kzoo.data.folders import FILE_NAME, TEXT, captioned, metadata_of
from kzoo.data.held import held
from kzoo.data.tables import READERS, checked, is_table, read_table, records_of

OPTIONS = "image_key= or caption_key="


@dataclass
class Row:
    """One image, its captions, and where it stands in the source; in `more`, lists of what goes with each caption."""

    image: object
    captions: list
    place: str
    more: dict = field(default_factory=dict)


@dataclass
class Source:
    """Rows that can be used, a sentence for each one that cannot, and classes: a dict of ids by name, by column."""

    rows: list = field(default_factory=list)
    broken: list = field(default_factory=list)
    classes: dict = field(default_factory=dict)


@dataclass(frozen=True)
class Asked:
    """What is read of a table: the names of its columns, and whatever says classes of some, the later before others."""

    image_key: str
    caption_key: str
    columns: tuple = ()
    classes: tuple = ()

    @property
    def keys(self) -> tuple:
        """All columns that every row has."""
        return self.image_key, self.caption_key, *self.columns


def read_source(source, image_key="image", caption_key="caption", columns=(), classes=None) -> Any:
    """Read any source of pairs; rows that name one image are one image with several captions.

    Args:
        source: see `kzoo.data.pairs`.
        image_key, caption_key: column or key names of tables. In jsonl a caption may be a list.
        columns: further columns of tables; of a dict all entries are read.
        classes: see `kzoo.data.pairs`.

    Returns:
        `Source`.

    Raises:
        TypeError: a source of another type.
        ValueError: an unknown kind of source, or one without the columns.
    """
    asked = Asked(image_key, caption_key, (columns,) if isinstance(columns, str) else tuple(columns), (classes,))
    records = records_of(source)
    if records is not None:
        return _from_records(checked(records, "row", 0, asked.keys, OPTIONS), Path(), asked)
    rows = held(source)
    if rows is not None:
        return _from_held(rows, asked)
    if isinstance(source, tuple) and len(source) == 2:
        source = dict(zip(("images", "captions"), source))
    if isinstance(source, dict):
        return _from_arrays(source, asked)
    if not isinstance(source, (str, os.PathLike)):
        raise TypeError(
            f"the source is of type {type(source).__name__}, which is no source of pairs: a path is expected, a dict "
            "with 'images' and 'captions', a list of such records, a data frame or a Dataset of Hugging Face, or a "
            "tuple of the two."
        )
    path = Path(source)
    if path.is_dir():
        return _from_folder(path, asked)
    if not is_table(path):
        raise ValueError(
            f"{path} is no source of pairs; expected a folder, or an existing file ending in "
            f"{', '.join(READERS)}, or a dict with 'images' and 'captions'.{_hint(path)}"
        )
    return _from_records(read_table(path, asked.keys, OPTIONS), path.parent, asked)


def _hint(path):
    """What to do with a file of pairs that is no table."""
    if not path.is_file():
        return ""
    return {
        ".txt": " A .txt whose lines have commas or tabs and a header is one of these under another name: rename it.",
        ".json": " Of JSON, write one object in each line, {'image': ..., 'caption': ...}, as .jsonl.",
    }.get(path.suffix.lower(), "")


def _from_arrays(source, asked):
    lacking = {"images", "captions"} - set(source)
    if lacking:
        raise ValueError(f"the source is a dict without {' and '.join(sorted(lacking))}; give both.")
    names = {set_name(name): name for name in source if name not in ("images", "captions")}
    unknown = next((name for name in asked.columns if set_name(name) not in names), None)
    if unknown is not None:
        raise ValueError(f"the source is a dict of {', '.join(source)} without {unknown!r}, which columns= names.")
    images, captions = (listed(name, source[name]) for name in ("images", "captions"))
    if len(images) != len(captions):
        raise ValueError(f"there are {len(images)} images but {len(captions)} captions; give one (or a list) for each.")
    more = {name: column(old, source[old], len(images), "images") for name, old in names.items()}
    read = {name: values for name, values in more.items() if kind_of(name) == NUMBERS}
    found = Source(classes=classes_by_column(read, *asked.classes))
    words = [name for name, values in read.items() if name in found.classes or not isinstance(values, np.ndarray)]
    for index, (image, value) in enumerate(zip(images, captions)):
        texts, problem = captions_of(value, "caption")
        problem = "the image is empty" if is_missing(image) else problem
        own = {name: values[index] for name, values in more.items()}
        for name in () if problem else words:
            own[name], problem = cell(name, own[name], Path(), found.classes.get(name))
            if problem:
                break
        if problem:
            found.broken.append(f"row {index}: {problem}")
            continue
        own = {name: of_captions(name, each, len(texts)) for name, each in own.items()}
        found.rows.append(Row(image, texts, f"row {index}", own))
    for name in words:
        _level(found.rows, name)
    return found


def _from_folder(folder, asked):
    metadata = metadata_of(folder)
    if metadata is not None:
        return _from_metadata(metadata, asked)
    if asked.columns:
        lacking = ", ".join(asked.columns)
        raise ValueError(f"{folder} is a folder, which has no columns {lacking}; take a table or a dict.")
    classes_by_column({}, *asked.classes)  # stops where some are given: a folder has none
    rows, broken = captioned(folder)
    return Source([Row(path, captions, str(path)) for path, captions in rows], broken)


def _from_metadata(path, asked):
    """A folder of Hugging Face's: under its own names of columns, unless the table has those that were asked for."""
    head = next((record for _, record in read_table(path, (), OPTIONS) if isinstance(record, dict)), {})
    image_key = asked.image_key if asked.image_key in head else FILE_NAME
    caption_key = TEXT if asked.caption_key not in head and TEXT in head else asked.caption_key
    asked = replace(asked, image_key=image_key, caption_key=caption_key)
    return _from_records(read_table(path, asked.keys, OPTIONS), path.parent, asked)


def _from_held(rows, asked):
    """Of a data set of Hugging Face: captions and columns now, pictures when a batch needs them."""
    asked = replace(asked, caption_key=rows.caption_key(asked.caption_key))
    rows.check(asked.keys, OPTIONS)
    pictures = {asked.image_key, *(name for name in asked.columns if kind_of(name) == IMAGES)}
    asked = replace(asked, classes=(rows.classes(asked.columns), *asked.classes))
    return _from_records(rows.records(asked.keys, pictures), Path(), asked)


def _from_records(table, folder, asked):
    """Rows of the records of a table, whose relative paths start at a folder."""
    table, names = list(table), {set_name(name): name for name in asked.columns}
    records = [record for _, record in table if isinstance(record, dict)]
    read = {name: [each[old] for each in records] for name, old in names.items() if kind_of(name) == NUMBERS}
    found, by_image = Source(classes=classes_by_column(read, *asked.classes)), {}
    for place, record in table:
        image, captions, more, problem = _row_of(record, folder, asked, found.classes)
        if problem:
            found.broken.append(f"{place}: {problem}")
            continue
        # what has no name, such as an array, is a picture of its own
        row = Row(image, [], place, {name: [] for name in more})
        row = by_image.setdefault(image if isinstance(image, Path) else place, row)
        row.captions.extend(captions)
        for name, values in more.items():
            row.more[name].extend(values)
    found.rows = list(by_image.values())
    for name in names:
        _level(found.rows, name)
    return found


def _row_of(record, folder, asked, classes):
    """`(image, captions, more, problem)` of a record; where there is a problem, the rest is nothing."""
    if isinstance(record, str):
        return None, None, None, record
    image, problem = picture(asked.image_key, record[asked.image_key], folder)
    captions, said = captions_of(record[asked.caption_key], asked.caption_key)
    problem = problem or said or _swallowed(captions, folder)
    more = {}
    for old in () if problem else asked.columns:
        name = set_name(old)
        value, problem = cell(name, record[old], folder, classes.get(name))
        if problem:
            break
        more[name] = of_captions(name, value, len(captions))
    return image, captions, more, problem


def _swallowed(captions, folder):
    """Whether a caption goes on with rows of the table, whose image files are there: a mark was not closed."""
    lines = (line for text in captions for line in text.splitlines()[1:])
    rows = [start for line in lines if (start := re.split("[,\t]", line)[0]) and is_file(folder / start)]
    return f"a quotation mark is not closed, and its caption goes on with the row of {rows[0]}" if rows else None


def _level(rows, name):
    """Numbers of a column in one dtype, so that no batch has another than the one before it."""
    counts = [len(row.more[name]) for row in rows]
    if kind_of(name) != NUMBERS or not rows:
        return
    values = in_one_array(name, [value for row in rows for value in row.more[name]])
    for row, own in zip(rows, np.split(values, np.cumsum(counts)[:-1])):
        row.more[name] = list(own)
