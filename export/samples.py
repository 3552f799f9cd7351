"""Pictures and texts of the user, on which a quantised export is measured."""

import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image

from kzoo.arguments import shown
from kzoo.data.columns import opened
from kzoo.data.folders import IMAGE_SUFFIXES, metadata_of, pictures_of
from kzoo.data.held import held
from kzoo.data.tables import is_table, records_of
from kzoo.preprocessing.tokenizer import check_texts

logger = logging.getLogger("kzoo")

MOST = 1024  # pictures, and texts, that are measured: evenly spread over more
WANTED = (
    "a folder or list of pictures, a dict with 'images', 'texts' or both, or pairs: a table, a folder with captions, "
    "or kzoo.data.pairs(...)"
)
OF_IMAGES = "give a folder or list of pictures"


@dataclass
class Samples:
    """What a model is asked with.

    Attributes:
        images: list of pictures, as `encode_image` takes them.
        texts: list of strings.
        image_ids: of pairs, int array: the place in `images` of what each text tells; None of others.
    """

    images: list = field(default_factory=list)
    texts: list = field(default_factory=list)
    image_ids: np.ndarray | None = None

    def counts(self) -> dict:
        """How many there are."""
        pairs = 0 if self.image_ids is None else len(self.image_ids)
        return {"images": len(self.images), "texts": len(self.texts), "pairs": pairs}


def read_samples(given, preprocessor) -> Samples:
    """Samples from what people have, each of which can be read.

    Args:
        given: path of a folder of pictures, or list of pictures and texts: a string that ends as files of pictures do
            is a path, another one a text. Or a dict of `"images"`, such a folder or a list, `"texts"`, a list, or both.
            Or pairs, by which recall is measured too: a path, list of records, data frame or dict as `kzoo.data.pairs`
            takes them, or its data set.
        preprocessor: of the model.

    Raises:
        TypeError: something else.
        ValueError: nothing in it, a picture or a text that cannot be read, a path where a picture or a text is
            expected, what the model does not read, or texts for one that has no vocabulary yet.
    """
    found = _read(given, preprocessor)
    for what, sources, steps in (
        ("pictures", found.images, preprocessor and preprocessor.images),
        ("texts", found.texts, preprocessor and preprocessor.tokenizer),
    ):
        if sources and steps is None:
            if what == "texts" and preprocessor is not None and preprocessor.vocabulary:
                preprocessor.check_vocabulary()  # which is not here yet
            raise ValueError(f"samples has {what}, which this model does not read; leave them out.")
    for place, source in enumerate(found.images):
        try:
            preprocessor.images.decode(source)
        except ValueError as error:
            raise ValueError(f"image {place} of the samples: {error}") from error
    check_texts(found.texts, " of the samples")
    return found


def _read(given, preprocessor):
    if hasattr(given, "rows") and hasattr(given, "count_captions"):
        return _of_pairs(given)
    if isinstance(given, (str, os.PathLike)):
        return _of_path(Path(given), preprocessor)
    # a data frame, which as a list would be the names of its columns, or a data set of Hugging Face
    if records_of(given) is not None or held(given) is not None:
        return _read_pairs(given, preprocessor)
    if isinstance(given, Mapping) and "captions" in given:
        return _read_pairs(given, preprocessor)
    if isinstance(given, Mapping):
        unknown = [name for name in given if name not in ("images", "texts")]
        if unknown or not given:
            raise ValueError(f"samples has {shown(unknown[0]) if unknown else 'nothing in it'}; give {WANTED}.")
        return _some(_pictures(given.get("images", ())), _texts(given.get("texts", ())))
    if (
        isinstance(given, (bytes, Image.Image))
        or not (hasattr(given, "__len__") and hasattr(given, "__iter__"))
        or getattr(given, "ndim", 1) == 0  # has the methods, and no length
    ):
        raise TypeError(f"samples is {shown(given, typed=True)}; give {WANTED}.")
    if len(given) and all(isinstance(each, Mapping) for each in given):
        return _read_pairs(list(given), preprocessor)
    texts = [each for each in given if _is_text(each)]
    for each in texts:
        if "/" in each.replace(os.sep, "/") and os.path.exists(each):
            raise ValueError(
                f"samples has {shown(each)} in a list, a path that is no picture's, and would take it for a text; give "
                f"{WANTED}."
            )
    return _some([each for each in given if not _is_text(each)], texts)


def _pictures(given):
    """Those of a dict: a list, or a path as it may stand by itself."""
    if isinstance(given, (str, os.PathLike)):
        path = Path(given)
        if not path.exists():
            raise ValueError(f"images of the samples is {shown(str(path))}, where nothing is; {OF_IMAGES}.")
        return pictures_of(path) if path.is_dir() else [path]
    return _listed(given, "images", OF_IMAGES)


def _texts(given):
    return _listed(given, "texts", "give a list of strings")


def _listed(given, name, wanted):
    """A list of what is one, for the letters of a string are no texts."""
    if isinstance(given, (str, bytes, Image.Image, Mapping)) or not hasattr(given, "__iter__"):
        raise TypeError(f"{name} of the samples is {shown(given, typed=True)}; {wanted}.")
    return list(given)


def _is_text(each):
    return isinstance(each, str) and Path(each).suffix.lower() not in IMAGE_SUFFIXES


def _of_path(path, preprocessor):
    if not path.exists():
        raise ValueError(f"samples is {shown(str(path))}, where nothing is; give {WANTED}.")
    if path.is_dir():
        texts = any(each.with_suffix(".txt").exists() for each in pictures_of(path))
        return _read_pairs(path, preprocessor) if texts or metadata_of(path) else _some(pictures_of(path), [])
    return _read_pairs(path, preprocessor) if is_table(path) else _some([path], [])


def _read_pairs(source, preprocessor):
    from kzoo.data import pairs  # whose data sets are Keras'

    return _of_pairs(pairs(source, preprocessor, shuffle=False, every_caption=True))


def _of_pairs(data):
    found = Samples(image_ids=[])
    for place, number in enumerate(_spread(range(len(data.rows)), "pairs")):
        row = data.row(number, None)
        found.images.append(opened(row.image))
        found.texts += row.captions
        found.image_ids += [place] * len(row.captions)
    found.image_ids = np.asarray(found.image_ids)
    return found


def _some(images, texts):
    if not images and not texts:
        raise ValueError(f"samples has neither pictures nor texts in it; give {WANTED}.")
    return Samples(_spread(images, "pictures"), _spread(texts, "texts"))


def _spread(rows, what):
    if len(rows) <= MOST:
        return list(rows)
    logger.warning("Of %d %s among the samples %d are taken, evenly spread.", len(rows), what, MOST)
    return [rows[int(place)] for place in np.linspace(0, len(rows) - 1, MOST)]
