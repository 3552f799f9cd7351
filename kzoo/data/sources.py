"""Where pairs come from: arrays, csv, jsonl, a folder. Each becomes a list of rows; broken rows are listed."""

from dataclasses import dataclass, field
from pathlib import Path

from kzoo.data.columns import cell, column, of_captions, set_name
from kzoo.data.tables import READERS, read_table
from kzoo.preprocessing.tokenizer import check_texts

IMAGE_SUFFIXES = {".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff"}


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


def read_source(source, image_key="image", caption_key="caption", columns=()):
    """Read any source of pairs; rows that name one image are one image with several captions.

    Args:
        source: path of a `.csv`, `.tsv` or `.jsonl` file, or of a folder of images with a `.txt` of captions
            (one a line) beside each; or a dict `{"images": ..., "captions": ...}`, or a tuple of the two.
        image_key, caption_key: column or key names of tables. In jsonl a caption may be a list.
        columns: further columns of tables; of a dict all entries are read.

    Returns:
        `Source`.

    Raises:
        TypeError: a source of another type.
        ValueError: an unknown kind of source, or a table without the columns.
    """
    if isinstance(source, tuple) and len(source) == 2:
        source = dict(zip(("images", "captions"), source))
    if isinstance(source, dict):
        return _from_arrays(source)
    if not isinstance(source, (str, Path)):
        raise TypeError(
            f"the source is of type {type(source).__name__}, but a path is expected, a dict with 'images' and "
            "'captions', or a tuple of the two."
        )
    path = Path(source)
    if path.is_dir():
        if columns:
            raise ValueError(f"{path} is a folder, which has no columns {', '.join(columns)}; take a table or a dict.")
        return _from_folder(path)
    if path.suffix not in READERS or not path.is_file():
        raise ValueError(
            f"{path} is no source of pairs; expected a folder, or an existing file ending in "
            f"{', '.join(READERS)}, or a dict with 'images' and 'captions'."
        )
    return _from_records(path, image_key, caption_key, columns)


def _from_arrays(source):
    lacking = {"images", "captions"} - set(source)
    if lacking:
        raise ValueError(f"the source is a dict without {' and '.join(sorted(lacking))}; give both.")
    images, captions = source["images"], source["captions"]
    if len(images) != len(captions):
        raise ValueError(f"there are {len(images)} images but {len(captions)} captions; give one (or a list) for each.")
    more = {
        set_name(name): column(name, values, len(images), "images")
        for name, values in source.items()
        if name not in ("images", "captions")
    }
    rows = []
    for index, (image, texts) in enumerate(zip(images, captions)):
        texts = [texts] if isinstance(texts, str) else list(texts)
        check_texts(texts)
        if not texts:
            raise ValueError(f"row {index} has no caption; leave it out, or give it one.")
        own = {name: of_captions(name, values[index], len(texts)) for name, values in more.items()}
        rows.append(Row(image, texts, f"row {index}", own))
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


def _from_records(path, image_key, caption_key, columns):
    found, by_image = Source(), {}
    for place, record in read_table(path, (image_key, caption_key, *columns), "image_key= or caption_key="):
        captions = [] if isinstance(record, str) else record[caption_key]
        captions = [captions] if isinstance(captions, str) else captions
        problem = _problem(record, captions, image_key, caption_key)
        if not problem:
            image = path.parent / record[image_key]  # an absolute path stays as it is
            problem = None if image.is_file() else f"there is no image file {image}"
        more = {}
        for name in () if problem else columns:
            value, problem = cell(set_name(name), record[name], path.parent)
            if problem:
                break
            more[set_name(name)] = of_captions(set_name(name), value, len(captions))
        if problem:
            found.broken.append(f"{place}: {problem}")
            continue
        row = by_image.setdefault(image, Row(image, [], place, {name: [] for name in more}))
        row.captions.extend(captions)
        for name, values in more.items():
            row.more[name].extend(values)
    found.rows = list(by_image.values())
    return found


def _problem(record, captions, image_key, caption_key):
    """What is wrong with a record of a table, or None."""
    if isinstance(record, str):
        return record
    for key in (image_key, caption_key):
        if not record[key]:
            return f"the {key} is empty"
    if not isinstance(captions, list) or not all(isinstance(text, str) and text for text in captions):
        return f"the {caption_key} holds something else than strings"
    return None
