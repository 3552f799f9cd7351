"""What several commands do."""

from pathlib import Path
from typing import Any

import numpy as np
import typer
from rich.progress import track

from kzoo.cli.options import CAPTION_KEY, IMAGE_KEY
from kzoo.cli.terminal import console
from kzoo.data.captions import captions_of
from kzoo.data.folders import pictures_of
from kzoo.data.lines import read_lines
from kzoo.data.skipping import listed
from kzoo.data.streams.asked import Asked
from kzoo.data.streams.locations import Opener, expanded, is_shards
from kzoo.data.streams.rows import ShardRows
from kzoo.data.tables import is_table, read_table
from kzoo.files.words import on_one_line
from kzoo.files.writing import readable
from kzoo.types import Array


def needs_keras() -> Any:
    """Keras, imported now that the backend is set."""
    from kzoo.backend import explain_missing

    try:
        import keras
    except ModuleNotFoundError as error:
        raise explain_missing(error) from error
    return keras


def open_model(folder) -> Any:
    """A saved model, or an export in the runtime."""
    from kzoo.export.manifest import MANIFEST_FILE, is_export

    # what is wrong with a manifest is said by who reads it
    place = readable(Path(folder))
    if is_export(place) or ((place / MANIFEST_FILE).exists() and not (place / "config.json").exists()):
        from kzoo.export import runtime

        return runtime.load(folder)
    needs_keras()
    import kzoo

    return kzoo.from_preset(folder)


def open_adapted(model, template) -> Any:
    """A model, or an export, with the classifier beside it, which knows its classes.

    Args:
        model: folder.
        template: as it was given; it has no use here.
    """
    from kzoo.adaptation.adapted_classifier import CLASSIFIER_FILE, MODEL_FILE, AdaptedClassifier

    if not any((readable(Path(model)) / each).is_file() for each in (CLASSIFIER_FILE, MODEL_FILE)):
        raise typer.BadParameter(
            "--labels is missing: class names, separated by commas, which this model does not have."
        )
    if template:
        raise typer.BadParameter("--template is for --labels; this model has its classes from kzoo adapt.")
    return AdaptedClassifier.load(model)


def class_names(labels) -> list[str]:
    """The names that an option has, separated by commas, each once."""
    names = [label.strip() for label in labels.split(",") if label.strip()]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise ValueError(f"--labels has {twice!r} twice; give each class once.")
    return names


def pairs_of(source, preprocessor, image_key, caption_key, **options) -> Any:
    """The data set of a source of pairs: of shards, or of what `kzoo.data.pairs` takes.

    Args:
        source: as it was given.
        preprocessor: of the model.
        image_key, caption_key: names of columns; of shards those of a table are their defaults.
        **options: of `kzoo.data.pairs`.

    Raises:
        ValueError: an empty name, which would be the folder that the command runs in.
    """
    import kzoo

    if source == "":
        raise ValueError("a source has the name '', which is no source of pairs; give a table, a folder or shards.")

    if not is_shards(source):
        return kzoo.data.pairs(source, preprocessor, image_key=image_key, caption_key=caption_key, **options)
    named = {"image_key": (image_key, IMAGE_KEY), "caption_key": (caption_key, CAPTION_KEY)}
    options |= {name: key for name, (key, usual) in named.items() if key != usual}
    return kzoo.data.shards(source, preprocessor, **options)


class PackedPicture:
    """A picture in a shard, read when it is embedded.

    Args:
        rows: `ShardRows`.
        number: of the picture in them.
    """

    def __init__(self, rows, number):
        self.rows, self.number = rows, number

    def __str__(self) -> str:
        return self.rows.place(self.number)

    def read(self) -> bytes:
        return self.rows.picture(self.number)


def packed(place) -> Any:
    """The rows of shards, None for what is none."""
    if not is_shards(place):
        return None
    names, opener = expanded(place), Opener()
    opener.check(names)
    rows = ShardRows(names, opener, Asked())
    if rows.problems:
        raise ValueError(f"{listed(rows.problems, 'shards are not whole')} Mend them, or leave them out.")
    return rows


def image_files(places) -> list:
    """Paths of pictures, and `PackedPicture`s of those in shards."""
    files = []
    for place in places:
        rows = packed(place)
        if rows is not None:
            files += [PackedPicture(rows, number) for number in range(len(rows))]
        else:
            files += pictures_of(place) if place.is_dir() else [place]
    if not files:
        raise ValueError(f"there are no images in {', '.join(map(str, places))}.")
    return files


def unpacked(sources) -> list:
    """What is encoded: paths and texts as they are, of pictures in shards their bytes."""
    return [each.read() if isinstance(each, PackedPicture) else each for each in sources]


def texts_of(path, caption_key) -> list[str]:
    """The texts of a file: its lines, or the captions of a table.

    Raises:
        ValueError: a table without that column, or with rows that have no caption.
    """
    if not is_table(path):
        return [line for line in read_lines(path) if line.strip()]
    texts = []
    for place, record in read_table(path, (caption_key,), "--caption-key"):
        found, problem = (None, record) if isinstance(record, str) else captions_of(record[caption_key], caption_key)
        if problem:
            raise ValueError(f"{place}: {problem}.")
        texts += found
    return texts


def readable_images(files, steps) -> list:
    """The files that can be decoded; the others are listed, with what is wrong with them.

    Args:
        files: list of paths.
        steps: image steps of the model.

    Raises:
        ValueError: none of them can.
    """
    found, broken = [], []
    for path in files:
        try:
            steps.decode(*unpacked([path]))
            found.append(path)
        except ValueError as error:
            broken.append(f"{on_one_line(path)}: {error}")
            console.print(f"{broken[-1]} It is left out.", style="yellow", markup=False, highlight=False)
    if not found:
        raise ValueError(f"none of the {len(files)} images can be read; the first: {broken[0]}")
    return found


def in_steps(encode, sources, batch_size, name) -> Array:
    steps = range(0, len(sources), batch_size)
    rows = []
    for start in track(steps, name, console=console):
        rows.append(encode(unpacked(sources[start : start + batch_size]), batch_size))
    return np.concatenate(rows) if rows else encode([])
