"""What a teacher says of pictures and texts, computed once and kept by the name of each. In numpy."""

import os
from collections.abc import Iterable
from typing import Any, Self

import numpy as np

from kzoo.arguments import COUNT, PATH, Checked, able, takes
from kzoo.data.columns import opened
from kzoo.evaluation.directions import directions
from kzoo.files.single import check_ending, replacing
from kzoo.inference.embed import BATCH_SIZE
from kzoo.inference.stored import ARRAYS, SUFFIX, read_stored
from kzoo.types import Array

ENCODER = able("encode_image encode_text", "a model of pictures and texts, or an export of one")
PAIRS = able("rows pair in_order", "what kzoo.data.pairs or kzoo.data.shards gives")


class TeacherEmbeddings(Checked):
    """Embeddings of a teacher, each found by the name of its picture or by its text.

    The teacher computed them once, before the training, on pictures as they stand in the source, without augmentation;
    it need not be there any more. Files are those of `kzoo embed`, so that command makes them, too.

    Args:
        image_embeddings: float array `(pictures, dim)`, of any length; or None.
        image_files: a name for each: the path of its file, or the place in the source of a picture that has none, such
            as `"row 3"`.
        text_embeddings: float array `(texts, dim)`, or None.
        texts: the texts themselves.

    Raises:
        ValueError: neither pictures nor texts, another number of names than of rows, a row that is zero or not finite.

    Example:
        >>> found = TeacherEmbeddings.of(kzoo.export.runtime.load("clip_large_onnx"), data)
        >>> found.save("teacher.npz")
        >>> student.fit(kzoo.adaptation.with_teacher(data, "teacher.npz"))
    """

    def __init__(self, image_embeddings=None, image_files=None, text_embeddings=None, texts=None):
        given = {"image": (image_embeddings, image_files), "text": (text_embeddings, texts)}
        self.rows, self.places = {}, {}
        for modality, (rows, names) in given.items():
            if rows is not None or names is not None:
                self.rows[modality], self.places[modality] = _checked(modality, rows, names)
        if not self.rows:
            raise ValueError(
                "there are embeddings neither of pictures nor of texts; give image_embeddings with "
                "image_files, text_embeddings with texts, or both."
            )

    def __repr__(self) -> str:
        parts = [f"{len(rows):,} {modality}s of {rows.shape[1]} channels" for modality, rows in self.rows.items()]
        return f"<TeacherEmbeddings of {', '.join(parts)}>"

    @classmethod
    @takes(teacher=ENCODER, data=PAIRS, batch_size=COUNT)
    def of(cls, teacher, data, batch_size=BATCH_SIZE) -> Self:
        """One pass of a teacher over all pictures and all captions of a data set, each read once.

        Args:
            teacher: a model, or an export that `kzoo.export.runtime.load` opened; its own steps and vocabulary read
                pictures and texts, whatever the student's are.
            data: of `kzoo.data.pairs` or `kzoo.data.shards`.
            batch_size: rows per forward pass of the teacher.

        Returns:
            `TeacherEmbeddings`.

        Raises:
            ValueError: a row that cannot be read, unless the set skips those.
        """
        numbers = dict.fromkeys(data.pair(int(each))[0] for each in data.in_order().rows_read)
        parts, texts = {}, {}
        for start in range(0, len(numbers), batch_size):
            rows = [data.rows[number] for number in [*numbers][start : start + batch_size]]
            texts |= dict.fromkeys(text for row in rows for text in row.captions)
            images = [opened(row.image) for row in rows]
            parts |= dict(zip(map(name_of, rows), teacher.encode_image(images, batch_size)))
        embedded = teacher.encode_text([*texts], batch_size)
        return cls(np.stack([*parts.values()]), [*parts], embedded, [*texts])

    # -- files --
    @takes(path=PATH)
    def save(self, path) -> None:
        """Write a file that `load` and `with_teacher` open; one that is there is replaced whole.

        Args:
            path: ending in `.npz`.

        Raises:
            ValueError: another ending.
            OSError: the disk takes it not.
        """
        check_ending(path, SUFFIX)
        arrays = {}
        for modality, rows in self.rows.items():
            arrays |= dict(zip(ARRAYS[modality], (rows, np.array([*self.places[modality]]))))
        with replacing(path) as file:
            np.savez(file, **arrays)

    @classmethod
    @takes(path=PATH)
    def load(cls, path) -> Self:
        """Open a file that `save` or `kzoo embed` wrote.

        Raises:
            FileNotFoundError: there is no file.
            ValueError: a file of something else.
        """
        return cls(**read_stored(path))

    # -- in use --
    def find(self, modality, names) -> Array:
        """Rows of some pictures or texts, float32 `(n, dim)`.

        Args:
            modality: `"image"` or `"text"`.
            names: list of strings.

        Raises:
            ValueError: one that the teacher has not seen.
        """
        places = self.places[modality]
        lacking = next((name for name in names if name not in places), None)
        if lacking is not None:
            kind = "picture" if modality == "image" else "text"
            raise ValueError(f"the teacher has no embedding of the {kind} {lacking!r}; embed all that is trained on.")
        return self.rows[modality][[places[name] for name in names]]

    def beside(self, pairs) -> dict:
        """What stands beside the pairs of a batch: `teacher_image_embeddings` and `teacher_text_embeddings`.

        Args:
            pairs: list of `kzoo.data.pair_dataset.Pair`.
        """
        found = {}
        if "image" in self.rows:
            found["teacher_image_embeddings"] = self.find("image", [name_of(pair.row) for pair in pairs])
        if "text" in self.rows:
            texts = [[pair.row.captions[each] for each in pair.chosen] for pair in pairs]
            found["teacher_text_embeddings"] = self._of_texts(texts, isinstance(pairs[0].texts, list))
        return found

    def _of_texts(self, texts, bags):
        if not bags:
            return self.find("text", [text for (text,) in texts])
        most, dim = max(map(len, texts)), self.rows["text"].shape[1]
        found = np.zeros((len(texts), most, dim), "float32")  # zeros where a bag is filled up
        for place, own in enumerate(texts):
            found[place, : len(own)] = self.find("text", own)
        return found


def name_of(row) -> str:
    """What the picture of a row of pairs is called: the path of its file, else where it stands in the source."""
    return normal(row.image) if isinstance(row.image, (str, os.PathLike)) else row.place


def normal(name) -> str:
    """A path as it is compared: `./a//b.jpg` is `a/b.jpg`."""
    return os.path.normpath(os.fspath(name))


def _checked(modality, rows, names) -> tuple[Array, dict[str, Any]]:
    called, names_called = ARRAYS[modality]
    if rows is None or names is None:
        raise ValueError(f"{called} and {names_called} go together; give both, or neither.")
    rows = np.asarray(rows)
    if rows.dtype.kind != "f" or rows.ndim != 2 or not rows.size:
        raise ValueError(f"{called} are {rows.dtype} of shape {rows.shape}; give a float array (n, dim).")
    if isinstance(names, (str, bytes)) or not isinstance(names, Iterable):
        raise TypeError(f"{names_called} are of type {type(names).__name__}; give a list of strings.")
    names = [str(each) for each in names]
    if len(names) != len(rows):
        raise ValueError(f"there are {len(rows)} {called} but {len(names)} {names_called}; give one for each.")
    names = [normal(each) for each in names] if modality == "image" else names
    return directions(rows.astype("float32"), called), {name: place for place, name in enumerate(names)}
