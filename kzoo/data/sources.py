"""Where pairs come from: arrays, tables, folders. Each becomes a list of rows; broken rows are listed."""

import os
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from kzoo.data.captions import captions_of, is_missing
from kzoo.data.columns import NUMBERS, cell, column, is_file, kind_of, listed, of_captions, picture, set_name
from kzoo.data.folders import FILE_NAME, TEXT, captioned, metadata_of
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
    """Rows that can be used, and a sentence for each one that cannot."""

    rows: list = field(default_factory=list)
    broken: list = field(default_factory=list)


def read_source(source, image_key="image", caption_key="caption", columns=()) -> Any:
    """Read any source of pairs; rows that name one image are one image with several captions.

    Args:
        source: see `kzoo.data.pairs`.
        image_key, caption_key: column or key names of tables. In jsonl a caption may be a list.
        columns: further columns of tables; of a dict all entries are read.

    Returns:
        `Source`.

    Raises:
        TypeError: a source of another type.
        ValueError: an unknown kind of source, or one without the columns.
    """
    columns = (columns,) if isinstance(columns, str) else tuple(columns)
    records = records_of(source)
    if records is not None:
        table = checked(records, "row", 0, (image_key, caption_key, *columns), OPTIONS)
        return _from_records(table, Path(), image_key, caption_key, columns)
    if isinstance(source, tuple) and len(source) == 2:
        source = dict(zip(("images", "captions"), source))
    if isinstance(source, dict):
        return _from_arrays(source, columns)
    if not isinstance(source, (str, os.PathLike)):
        raise TypeError(
            f"the source is of type {type(source).__name__}, which is no source of pairs: a path is expected, a dict "
            "with 'images' and 'captions', a list of such records or a data frame, or a tuple of the two."
        )
    path = Path(source)
    if path.is_dir():
        return _from_folder(path, image_key, caption_key, columns)
    if not is_table(path):
        raise ValueError(
            f"{path} is no source of pairs; expected a folder, or an existing file ending in "
            f"{', '.join(READERS)}, or a dict with 'images' and 'captions'.{_hint(path)}"
        )
    table = read_table(path, (image_key, caption_key, *columns), OPTIONS)
    return _from_records(table, path.parent, image_key, caption_key, columns)


def _hint(path):
    """What to do with a file of pairs that is no table."""
    if not path.is_file():
        return ""
    return {
        ".txt": " A .txt whose lines have commas or tabs and a header is one of these under another name: rename it.",
        ".json": " Of JSON, write one object in each line, {'image': ..., 'caption': ...}, as .jsonl.",
    }.get(path.suffix.lower(), "")


def _from_arrays(source, columns):
    lacking = {"images", "captions"} - set(source)
    if lacking:
        raise ValueError(f"the source is a dict without {' and '.join(sorted(lacking))}; give both.")
    names = {set_name(name) for name in source}
    unknown = next((name for name in columns if set_name(name) not in names), None)
    if unknown is not None:
        raise ValueError(f"the source is a dict of {', '.join(source)} without {unknown!r}, which columns= names.")
    images, captions = (listed(name, source[name]) for name in ("images", "captions"))
    if len(images) != len(captions):
        raise ValueError(f"there are {len(images)} images but {len(captions)} captions; give one (or a list) for each.")
    more = {
        set_name(name): column(name, values, len(images), "images")
        for name, values in source.items()
        if name not in ("images", "captions")
    }
    found = Source()
    for index, (image, value) in enumerate(zip(images, captions)):
        texts, problem = captions_of(value, "caption")
        problem = "the image is empty" if is_missing(image) else problem
        if problem:
            found.broken.append(f"row {index}: {problem}")
            continue
        own = {name: of_captions(name, values[index], len(texts)) for name, values in more.items()}
        found.rows.append(Row(image, texts, f"row {index}", own))
    return found


def _from_folder(folder, image_key, caption_key, columns):
    metadata = metadata_of(folder)
    if metadata is not None:
        return _from_metadata(metadata, image_key, caption_key, columns)
    if columns:
        raise ValueError(f"{folder} is a folder, which has no columns {', '.join(columns)}; take a table or a dict.")
    rows, broken = captioned(folder)
    return Source([Row(path, captions, str(path)) for path, captions in rows], broken)


def _from_metadata(path, image_key, caption_key, columns):
    """A folder of Hugging Face's: under its own names of columns, unless the table has those that were asked for."""
    head = next((record for _, record in read_table(path, (), OPTIONS) if isinstance(record, dict)), {})
    image_key = image_key if image_key in head else FILE_NAME
    caption_key = TEXT if caption_key not in head and TEXT in head else caption_key
    table = read_table(path, (image_key, caption_key, *columns), OPTIONS)
    return _from_records(table, path.parent, image_key, caption_key, columns)


def _from_records(table, folder, image_key, caption_key, columns):
    """Rows of the records of a table, whose relative paths start at a folder."""
    found, by_image = Source(), {}
    for place, record in table:
        image, captions, more, problem = _row_of(record, folder, image_key, caption_key, columns)
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
    for name in map(set_name, columns):
        _level(found.rows, name)
    return found


def _row_of(record, folder, image_key, caption_key, columns):
    """`(image, captions, more, problem)` of a record; where there is a problem, the rest is nothing."""
    if isinstance(record, str):
        return None, None, None, record
    image, problem = picture(image_key, record[image_key], folder)
    captions, said = captions_of(record[caption_key], caption_key)
    problem = problem or said or _swallowed(captions, folder)
    more = {}
    for asked in () if problem else columns:
        name = set_name(asked)
        value, problem = cell(name, record[asked], folder)
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
    try:
        values = np.asarray([value for row in rows for value in row.more[name]])
    except ValueError as error:
        raise ValueError(f"the rows of {name} have different lengths; give as many numbers in each.") from error
    for row, own in zip(rows, np.split(values, np.cumsum(counts)[:-1])):
        row.more[name] = list(own)
