"""Where pairs come from: arrays, csv, jsonl, a folder. Each becomes a list of rows; broken rows are listed."""

import csv
import json
import os
from dataclasses import dataclass, field
from pathlib import Path

from kzoo.preprocessing.tokenizer import check_texts

IMAGE_SUFFIXES = {".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff"}


@dataclass
class Row:
    """One image, its captions, and where it stands in the source."""

    image: object
    captions: list
    place: str


@dataclass
class Source:
    """Rows that can be used, and a sentence for each one that cannot."""

    rows: list = field(default_factory=list)
    broken: list = field(default_factory=list)


def read_source(source, image_key="image", caption_key="caption"):
    """Read any source of pairs; rows that name one image are one image with several captions.

    Args:
        source: path of a `.csv`, `.tsv` or `.jsonl` file, or of a folder of images with a `.txt` of captions
            (one a line) beside each; or a dict `{"images": ..., "captions": ...}`.
        image_key, caption_key: column or key names of tables. In jsonl a caption may be a list.

    Returns:
        `Source`.

    Raises:
        ValueError: an unknown kind of source, or a table without the columns.
    """
    if isinstance(source, dict):
        return _from_arrays(source)
    path = Path(source)
    if path.is_dir():
        return _from_folder(path)
    readers = {".csv": _read_csv, ".tsv": _read_csv, ".jsonl": _read_jsonl}
    if path.suffix not in readers or not path.is_file():
        raise ValueError(
            f"{path} is no source of pairs; expected a folder, or an existing file ending in "
            f"{', '.join(readers)}, or a dict with 'images' and 'captions'."
        )
    return _from_records(path, readers[path.suffix](path), image_key, caption_key)


def _from_arrays(source):
    lacking = {"images", "captions"} - set(source)
    if lacking:
        raise ValueError(f"the source is a dict without {' and '.join(sorted(lacking))}; give both.")
    images, captions = source["images"], source["captions"]
    if len(images) != len(captions):
        raise ValueError(f"there are {len(images)} images but {len(captions)} captions; give one (or a list) for each.")
    rows = []
    for index, (image, texts) in enumerate(zip(images, captions)):
        texts = [texts] if isinstance(texts, str) else list(texts)
        check_texts(texts)
        rows.append(Row(image, texts, f"row {index}"))
    return Source(rows)


def _from_folder(folder):
    found = Source()
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    texts = {path.with_suffix(""): path for path in files if path.suffix == ".txt"}
    for path in files:
        if path.suffix.lower() not in IMAGE_SUFFIXES:
            continue
        text = texts.pop(path.with_suffix(""), None)
        lines = [] if text is None else text.read_text("utf-8").splitlines()
        captions = [line.strip() for line in lines if line.strip()]
        if captions:
            found.rows.append(Row(path, captions, str(path)))
        else:
            found.broken.append(f"{path}: no caption in {path.with_suffix('.txt').name}")
    found.broken += [f"{path}: no image of that name" for path in texts.values()]
    return found


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


def _from_records(path, records, image_key, caption_key):
    found, by_image = Source(), {}
    for number, record in enumerate(records, start=1):
        place = f"{path.name} row {number}"
        problem = _problem(record, image_key, caption_key)
        if problem:
            found.broken.append(f"{place}: {problem}")
            continue
        image = path.parent / record[image_key]  # an absolute path stays as it is
        captions = record[caption_key]
        captions = [captions] if isinstance(captions, str) else captions
        if image in by_image:
            by_image[image].captions.extend(captions)
        elif not os.path.isfile(image):
            found.broken.append(f"{place}: there is no image file {image}")
        else:
            by_image[image] = Row(image, list(captions), place)
    found.rows = list(by_image.values())
    return found


def _problem(record, image_key, caption_key):
    """What is wrong with a record of a table, or None."""
    if isinstance(record, str):
        return record
    for key in (image_key, caption_key):
        if key not in record:
            raise ValueError(
                f"the table has no column {key!r}, only {', '.join(map(str, record))}; name it with image_key= or "
                "caption_key=."
            )
        if not record[key]:
            return f"the {key} is empty"
    captions = record[caption_key]
    if not isinstance(captions, str) and not all(isinstance(text, str) and text for text in captions):
        return f"the {caption_key} holds something else than strings"
    return None
