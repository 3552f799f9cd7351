"""The contract of indexes: embeddings in, the nearest of them out, a file to keep."""

import json
from collections.abc import Iterable
from importlib import import_module
from pathlib import Path
from typing import ClassVar

import numpy as np

from kzoo.adaptation.classifiers.arrays import rows_of
from kzoo.arguments import COUNT, PATH, Checked, check, shown, takes
from kzoo.files.numbers import check_finite
from kzoo.files.single import check_ending, replacing_by_name
from kzoo.files.strict_json import parse_json
from kzoo.files.tensor_file import write_tensors
from kzoo.files.tensor_reading import Safetensors
from kzoo.files.words import on_one_line
from kzoo.retrieval.found import Found
from kzoo.types import Array

SUFFIX, METADATA, NAMES, BETWEEN = ".safetensors", "kzoo_index", "names", "\0"
HOMES = {"BinaryIndex": "binary", "ExactIndex": "exact", "ProductIndex": "product"}  # name of a class -> its file
BLOCK = 2**24  # numbers of similarities that are held at a time


class Index(Checked):
    """Base of the indexes, which find the nearest of stored embeddings.

    A subclass makes what it keeps of rows in its constructor, which ends with `_settle`, and sets:

    Attributes:
        tensors: name of an array that it keeps -> kind of its numbers, a letter of numpy's, and its dimensions.
        numbers: name of a number that it keeps -> what that may be.
        names: tuple of strings, what each row is called, or None.
        dim: channels of the embeddings.

    It defines `_search(rows, k)`, float32 `(queries, dim)` of unit length to `Found`, `_count()`, and
    `_check_loaded(path)`, which stops where arrays of a file do not go together.

    Example:
        >>> index = kzoo.retrieval.ProductIndex(model.encode_image(photos), names=photos)
        >>> index.save("photos.safetensors")
        >>> index = kzoo.retrieval.Index.load("photos.safetensors")
        >>> found = index.search(export.encode_text(["a cat"]), k=5)
        >>> [index.names[place] for place in found.places[0]]
        ['cat.jpg', 'kitten.jpg', ...]
    """

    tensors: ClassVar[dict] = {}
    numbers: ClassVar[dict] = {"dim": COUNT}
    names: tuple | None
    dim: int

    def __len__(self) -> int:
        return self._count()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {len(self):,} rows, {self.dim} channels, {self.nbytes:,} bytes>"

    def _settle(self, dim, names, **state):
        self.dim = int(dim)
        vars(self).update(state)
        self.names = names_of(names, len(self))

    @property
    def nbytes(self) -> int:
        """Bytes of what is kept of the embeddings."""
        return sum(getattr(self, name).nbytes for name in self.tensors)

    @takes(k=COUNT)
    def search(self, queries, k=10) -> Found:
        """The nearest rows of each query.

        Args:
            queries: float array `(queries, dim)` of the model that the embeddings are of; any length.
            k: how many; at most the rows of the index.

        Returns:
            `Found`: `scores` float32 and `places` int64, both `(queries, k)`, the best first and of equal ones the
            first.

        Raises:
            ValueError: queries of another width, or one that is zero or not finite; more than there are.

        Example:
            >>> index.search(model.encode_text(["a cat"]), k=3).places
            array([[17, 4, 210]])
        """
        rows = rows_of(queries, "queries", self.dim)
        if k > len(self):
            raise ValueError(f"k is {k}, but the index has {len(self)} rows; give a smaller one.")
        size = max(1, BLOCK // len(self))
        parts = [self._search(rows[start : start + size], k) for start in range(0, len(rows), size)]
        return Found(*map(np.concatenate, zip(*parts)))

    def _search(self, rows, k) -> Found:
        raise NotImplementedError(f"{type(self).__name__} finds nothing; define `_search(rows, k)`.")

    def _count(self) -> int:
        raise NotImplementedError(f"{type(self).__name__} counts nothing; define `_count()`.")

    # -- files --
    @takes(path=PATH)
    def save(self, path) -> None:
        """Write the index to a file, which `load` opens without Keras; a file that is there is replaced whole.

        Args:
            path: ending in `.safetensors`.

        Raises:
            ValueError: another ending.
            OSError: the disk takes it not.
        """
        check_ending(path, SUFFIX)
        kept = {"kind": type(self).__name__, "numbers": {name: getattr(self, name) for name in self.numbers}}

        def give(put):
            for name in self.tensors:
                put(name, np.ascontiguousarray(getattr(self, name)))
            if self.names is not None:
                put(NAMES, np.frombuffer(BETWEEN.join(self.names).encode(), "uint8"))

        with replacing_by_name(path) as place:
            write_tensors(place, give, {METADATA: json.dumps(kept)})

    @classmethod
    @takes(path=PATH)
    def load(cls, path) -> "Index":
        """Open a file that `save` wrote.

        Args:
            path: of the file.

        Returns:
            an index of the class that was saved.

        Raises:
            FileNotFoundError: there is no file.
            ValueError: no file of an index, or one whose content does not go together.
        """
        file = Safetensors(Path(path))
        try:
            return _opened(cls, file, path)
        except TypeError as error:
            raise ValueError(f"{path} is no index that `save` wrote: {error}") from error

    def _check_loaded(self, path):
        """Stops where arrays of a file do not go together."""


def names_of(names, count) -> tuple | None:
    """What rows are called, looked at; None for none."""
    if names is None:
        return None
    if isinstance(names, (str, bytes)) or not isinstance(names, Iterable):
        raise TypeError(f"names is {shown(names, True)}; give a list of strings.")
    names = tuple(map(str, names))
    if len(names) != count:
        raise ValueError(f"there are {len(names)} names for {count} rows; give one for each.")
    wrong = next((each for each in names if BETWEEN in each), None)
    if wrong is not None:
        raise ValueError(f"names holds {shown(wrong)}, with a character 0; leave it out.")
    return names


def is_index(path) -> bool:
    """Whether a safetensors file says that it holds an index.

    Raises:
        FileNotFoundError, ValueError: no such file.
    """
    return isinstance(_metadata(Safetensors(Path(path)), path).get(METADATA), str)


def _metadata(file, path) -> dict:
    written = parse_json(file.header.decode("utf-8"), f"the header of {path}").get("__metadata__")
    return written if isinstance(written, dict) else {}


def _opened(cls, file, path) -> Index:
    written = _metadata(file, path)
    if not isinstance(written.get(METADATA), str):
        raise ValueError(f"{path} holds no index of kzoo; give a file that its `save` wrote.")
    kept = parse_json(written[METADATA], f"the metadata of {path}")
    if not isinstance(kept, dict) or kept.get("kind") not in HOMES or not isinstance(kept.get("numbers"), dict):
        said = on_one_line(str(kept.get("kind") if isinstance(kept, dict) else kept))[:60]
        raise ValueError(f"{path} holds an index of a kind that is not known, {said!r}.")
    kind = getattr(import_module(f"{__package__}.{HOMES[kept['kind']]}"), kept["kind"])
    if not issubclass(kind, cls):
        raise ValueError(f"{path} holds a {kind.__name__}, not a {cls.__name__}; open it as what it is.")
    missing = ({*kind.tensors} ^ {*file.shapes} - {NAMES}) or {*kind.numbers} ^ {*kept["numbers"]}
    if missing:
        raise ValueError(
            f"{path} is no {kind.__name__} of this version of kzoo: {on_one_line(min(missing))[:99]} is amiss."
        )
    check(kind.numbers, kept["numbers"])
    arrays = {name: _checked(file, name, *kind.tensors[name], path) for name in kind.tensors}
    index = kind.__new__(kind)
    vars(index).update(arrays, **kept["numbers"], names=None)
    if not len(index):
        raise ValueError(f"{path} holds an index of no rows.")
    index._check_loaded(path)
    if NAMES in file.shapes:
        names = bytes(_checked(file, NAMES, "u", 1, path)).decode("utf-8", "replace").split(BETWEEN)
        index.names = names_of(names, len(index))
    return index


def _checked(file, name, letter, dimensions, path) -> Array:
    array = file.read(name)
    if array.dtype.kind != letter or array.ndim != dimensions or (letter == "u" and array.dtype != "uint8"):
        raise ValueError(f"{name} in {path} is {array.dtype} of shape {array.shape}, which no index has.")
    check_finite(array, f"{name} in {path}")
    return array


def refuse(path, name) -> None:
    """Stops at a file whose arrays do not go together."""
    raise ValueError(f"{path} does not go together: {name} has another shape than the rest asks for.")
