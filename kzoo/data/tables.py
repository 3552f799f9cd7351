"""Records of csv, tsv and jsonl files."""

import csv
import json


def _read_csv(path):
    with open(path, newline="", encoding="utf-8-sig") as file:
        yield from csv.DictReader(file, delimiter="\t" if path.suffix == ".tsv" else ",")


def _read_jsonl(path):
    for line in path.read_text("utf-8").splitlines():
        if line.strip():
            try:
                yield json.loads(line)
            except ValueError as error:
                yield f"not JSON: {error}"


READERS = {".csv": _read_csv, ".tsv": _read_csv, ".jsonl": _read_jsonl}


def read_table(path, keys, options):
    """Records of a table, each with where it stands; a string, what is wrong with it, in place of one that is none.

    Args:
        path: of a file that ends as one of `READERS`.
        keys: columns that every record must have.
        options: what names them otherwise, for the message, such as `"image_key="`.

    Yields:
        `(place, record)`: a string such as `"photos.csv row 3"`, and a dict or a string.

    Raises:
        ValueError: a record without one of the columns.
    """
    for number, record in enumerate(READERS[path.suffix](path), start=1):
        if isinstance(record, dict):
            lacking = next((key for key in keys if key not in record), None)
            if lacking is not None:
                raise ValueError(
                    f"the table has no column {lacking!r}, only {', '.join(map(str, record))}; name it with {options}."
                )
        elif not isinstance(record, str):
            record = f"not an object of JSON but {type(record).__name__}"
        yield f"{path.name} row {number}", record
