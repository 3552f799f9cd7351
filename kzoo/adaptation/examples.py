"""The pictures that a model is adapted with, from any source, and which of them are held out."""

import os
from pathlib import Path

import numpy as np

from kzoo.adaptation.classifiers.arrays import classes_of
from kzoo.adaptation.classifiers.shots import few_shot
from kzoo.data.folders import SPLITS, pictures_of
from kzoo.data.picture_sources import LABELS, read_pictures

HELD_OUT = 5  # of a class, every how many-th picture is held out where nothing is said


class Examples:
    """Pictures with their classes.

    Attributes:
        images: list or array of pictures, as `encode_image` takes them.
        labels: int64 array, the place of its class for each.
        classes: tuple of names.
        places: int array, where each stands in the source.
    """

    def __init__(self, images, labels, classes, places=None):
        self.images, self.labels, self.classes = images, labels, classes
        self.places = np.arange(len(labels)) if places is None else places

    def __len__(self) -> int:
        return len(self.labels)

    def at(self, places) -> "Examples":
        """Those at some places."""
        images = self.images
        images = images[places] if isinstance(images, np.ndarray) else [images[place] for place in places]
        return Examples(images, self.labels[places], self.classes, self.places[places])


def read_examples(source, classes=None, name="data", named=True) -> Examples:
    """Pictures and their classes, of any source.

    Args:
        source: path of a folder of class folders; pictures and labels in a tuple; what `kzoo.data.views` takes, with
            labels; or `Examples`, which are given back.
        classes: names of the classes in their order; None: those of the source.
        name: of the argument, for sentences.
        named: whether classes must have names, for texts of them; else their numbers will do.

    Raises:
        ValueError: no pictures, or none of a class; one class; labels without names where these are needed.
        TypeError: a source of another kind.
    """
    if isinstance(source, Examples):
        return source
    classes = None if classes is None else classes_of(classes)
    if isinstance(source, (str, os.PathLike)):
        _check_folder(Path(source), name)
    if isinstance(source, tuple):
        if len(source) != 2:
            raise TypeError(f"{name} is a tuple of {len(source)}; give (pictures, labels), a dict, or a folder.")
        source = {"images": source[0], LABELS: source[1]}
    images, entries, found = read_pictures(source, classes=None if classes is None else {LABELS: list(classes)})
    column = LABELS if LABELS in entries else next(iter(entries), None)
    if column is None:
        raise ValueError(f"{name} has pictures but no labels; give a dict with 'images' and 'labels', or a folder.")
    labels = np.asarray(entries[column])
    if labels.dtype.kind not in "iu" or labels.ndim != 1:
        raise ValueError(f"the {column} of {name} are no classes; give one whole number or name for each picture.")
    if classes is None and column in found:
        classes = classes_of(sorted(found[column], key=found[column].get))
    if classes is None:
        if named:
            raise ValueError(
                f"the {column} of {name} are numbers, and a text tower reads names; give those: classes=['wren', ...]."
            )
        classes = classes_of(None, int(labels.max()) + 1)
    return Examples(images, labels.astype("int64"), classes)


def readable(examples, steps, tell) -> Examples:
    """Those pictures that can be decoded; each is tried once.

    Args:
        examples: `Examples`.
        steps: image steps of a model.
        tell: function of a sentence for each of the others.

    Raises:
        ValueError: none of them can.
    """
    found, first = [], None
    for place, image in enumerate(examples.images):
        try:
            steps.decode(image)
            found.append(place)
        except ValueError as error:
            said = str(error) if isinstance(image, (str, os.PathLike)) else f"picture {place}: {error}"
            first = first or said
            tell(f"{said} It is left out.")
    if not found:
        raise ValueError(f"none of the {len(examples)} pictures can be read; the first: {first}")
    return examples.at(np.array(found))


def drawn(examples, shots=None, seed=0, keeps_all=False) -> tuple:
    """Which pictures are shown to the method, and which are held out: two int arrays of places.

    Args:
        examples: `Examples`.
        shots: pictures of each class; None for all but a fifth of each class, one at least.
        seed: of the draw.
        keeps_all: None is held out; without shots all are shown.

    Raises:
        ValueError: a class with no picture, or with fewer than are to be drawn.
    """
    labels, classes = examples.labels, examples.classes
    counts = np.bincount(labels, minlength=len(classes))
    if not counts.all():
        raise ValueError(f"class {classes[int(counts.argmin())]!r} has no picture; give at least one of each class.")
    if shots is not None:
        chosen = few_shot(labels, shots, seed, classes)
    elif keeps_all:
        chosen = np.arange(len(labels))
    else:
        if counts.min() < 2:
            raise ValueError(
                f"class {classes[int(counts.argmin())]!r} has one picture, and none would be left to measure with; "
                "give more, or pictures to measure with as held_out."
            )
        orders = (np.random.default_rng((seed, place)).permutation(count) for place, count in enumerate(counts))
        chosen = np.concatenate(
            [
                np.flatnonzero(labels == place)[order[: len(order) - max(1, len(order) // HELD_OUT)]]
                for place, order in enumerate(orders)
            ]
        )
    return chosen, np.array([], "int64") if keeps_all else np.setdiff1d(np.arange(len(labels)), chosen)


def _check_folder(folder, name):
    """Stops where a folder is none of class folders; hidden folders are none of them."""
    if not folder.is_dir():
        raise ValueError(
            f"{name} is {str(folder)!r}, and no such folder is there; give one with a folder for each class."
        )
    inner = sorted(each for each in folder.iterdir() if each.is_dir() and not each.name.startswith("."))
    if inner and {each.name.lower() for each in inner} <= SPLITS:
        raise ValueError(
            f"the folders in {folder} are the parts of a data set, no classes; give one of them, such as {inner[0]}, "
            "and another as held_out."
        )
    if len(inner) < 2:
        count = "one folder" if inner else "no folders"
        raise ValueError(f"{folder} has {count} in it; give a folder with one for each class, two at least.")
    empty = next((each for each in inner if not pictures_of(each)), None)
    if empty is not None:
        raise ValueError(f"class {empty.name!r} has no picture in {empty}; put some there, or take the folder away.")
    loose = next((each for each in pictures_of(folder) if each.parent == folder), None)
    if loose is not None:
        raise ValueError(f"{loose} lies in no folder of a class; move it into one.")
