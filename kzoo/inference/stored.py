"""Embeddings that `kzoo embed` has written, read again. In numpy."""

import zipfile
import zlib

import numpy as np

from kzoo.files.opening import open_regular

ARRAYS = {"image": ("image_embeddings", "image_files"), "text": ("text_embeddings", "texts")}
SUFFIX = ".npz"


def read_stored(path) -> dict:
    """The arrays of a file of embeddings, by name: of `ARRAYS` those that are there.

    Raises:
        FileNotFoundError: there is no file.
        ValueError: a file of something else.
    """
    known = [name for names in ARRAYS.values() for name in names]
    try:
        with open_regular(path) as source, np.load(source, allow_pickle=False) as file:
            arrays = {name: file[name] for name in known if name in file.files}
    except (
        *(zipfile.BadZipFile, zlib.error, ValueError, EOFError),
        *(KeyError, NotImplementedError, AttributeError, TypeError, MemoryError),
    ) as error:
        raise ValueError(f"{path} is no file of embeddings, {SUFFIX}, that kzoo embed wrote.") from error
    if not arrays:
        raise ValueError(f"{path} holds none of {', '.join(known)}; give what kzoo embed wrote.")
    return arrays
