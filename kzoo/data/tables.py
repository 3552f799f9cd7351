"""Records of tables: csv, tsv and jsonl files, lists of records, data frames."""

from collections.abc import Iterator
from functools import partial

from kzoo.data.delimited import read_delimited
from kzoo.data.lines import read_lines
from kzoo.files.strict_json import parse_json
from kzoo.files.words import on_one_line

NAMES = 500  # characters of the names of columns that a sentence has
FRAMES = {"pandas": lambda frame: frame.to_dict("records"), "polars": lambda frame: frame.to_dicts()}


def _read_jsonl(path):
    for line in read_lines(path):
        if line.strip():
            try:
                yield parse_json(line, "it", finite=False)  # NaN stands for nothing there, as pandas writes it
            except ValueError as error:
                yield f"not JSON: {str(error).removeprefix('it is not JSON: ').rstrip('.')}"


READERS = {
    ".csv": partial(read_delimited, delimiter=","),
    ".tsv": partial(read_delimited, delimiter="\t"),
    ".jsonl": _read_jsonl,
}


def is_table(path) -> bool:
    """Whether a path is of a file that is read as a table, by its ending in any case."""
    return path.suffix.lower() in READERS and path.is_file()


def read_table(path, keys, options) -> Iterator:
    """Records of a table, each with where it stands; a string, what is wrong with it, in place of one that is none.

    Args:
        path: of a file that ends as one of `READERS`.
        keys: columns that every record must have.
        options: what names them otherwise, for the message, such as `"image_key="`.

    Yields:
        `(place, record)`: a string such as `"photos.csv row 3"`, and a dict or a string.

    Raises:
        ValueError: a first record without one of the columns; a file that is no text.
    """
    yield from checked(READERS[path.suffix.lower()](path), f"{path.name} row", 1, keys, options)


def checked(records, place, first, keys, options) -> Iterator:
    """Records with their places, as `read_table` gives them; a column that the first has not is none of the table."""
    started = False
    for number, record in enumerate(records, start=first):
        if isinstance(record, dict):
            lacking = next((key for key in keys if key not in record), None)
            if lacking is not None and started:
                record = f"it has no {lacking}, only {_named(record)}"
            elif lacking is not None:
                raise ValueError(f"the table has no column {lacking!r}, only {_named(record)}; name it with {options}.")
            started = True
        elif not isinstance(record, str):
            record = f"not an object of JSON but {type(record).__name__}"
        yield f"{place} {number}", record


def _named(record):
    """Columns of a record in a sentence, whatever a stranger has called them."""
    return on_one_line(", ".join(map(str, record)))[:NAMES]


def records_of(source) -> list | None:
    """Records of a data frame or of a list of records, None for what is neither.

    The one place that knows data frames: they are recognised by the library that made them, which is not imported.
    """
    made_by = type(source).__module__.partition(".")[0]
    if made_by in FRAMES and type(source).__name__ == "DataFrame":
        return FRAMES[made_by](source)
    if isinstance(source, list) and source and all(isinstance(each, dict) for each in source):
        return source
    return None
