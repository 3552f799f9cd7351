"""The contract of classifiers on stored embeddings: arrays in, logits out, a small file to keep."""

import copy
import json
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np

from kzoo.adaptation.classifiers.arrays import classes_of, labels_of, rows_of
from kzoo.arguments import PATH, POSITIVE, Checked, check, takes
from kzoo.files.numbers import check_finite
from kzoo.files.single import check_ending, replacing_by_name
from kzoo.files.strict_json import parse_json
from kzoo.files.tensor_file import write_tensors
from kzoo.files.tensor_reading import Safetensors
from kzoo.files.words import on_one_line
from kzoo.types import Array

SCALE = 100.0  # of the logits of every released CLIP
SUFFIX, METADATA = ".safetensors", "kzoo_classifier"
WHOLE = "labels"  # the tensor whose numbers are whole; those of all others are floats
LARGEST = 1e12  # of the numbers in a file: what is fitted to embeddings stays far below
CLASSIFIER_FILE = "classifier.safetensors"  # in the folder of a model or an export
KINDS = {}  # name of a class -> the class, of those that have been imported
HOMES = {  # name of a class -> its file, for opening one that was saved
    "ConceptMatrixSearch": "concept_matrix_search",
    "CrossTune": "cross_tune",
    "GaussianDiscriminant": "gaussian",
    "KNearestNeighbours": "neighbours",
    "LabelPropagation": "label_propagation",
    "LinearProbe": "linear_probe",
    "NearestClassMean": "class_mean",
    "SparseConceptBottleneck": "concept_bottleneck",
    "TipAdapter": "tip_adapter",
    "TransportedMeans": "transported",
    "ZeroShot": "zero_shot",
}


class EmbeddingClassifier(Checked):
    """Base of the classifiers that take embeddings, wherever those come from: a model, an export, a file.

    A subclass makes itself of arrays in its constructor, which ends with `_settle`, and sets:

    Attributes:
        tensors: name of an array that it keeps -> names of its axes; `"classes"` and `"dim"` are those of the
            classifier, another name stands for one length wherever it is.
        numbers: name of a number that it keeps -> what that may be.
        unit: whether embeddings are brought to unit length before `_logits` gets them.
        classes: tuple of names.
        dim: channels of the embeddings.

    It defines `_logits(rows)`, float32 `(n, dim)` to a float array `(n, classes)`.

    Example:
        >>> classifier = kzoo.adaptation.NearestClassMean(model.encode_image(shots), labels, classes)
        >>> classifier.save("birds.safetensors")
        >>> again = kzoo.adaptation.EmbeddingClassifier.load("birds.safetensors")
        >>> again.predict(runtime.load("my_clip_onnx").encode_image(["wren.jpg"]))
        array([3])
    """

    tensors: ClassVar[dict] = {}
    numbers: ClassVar[dict] = {}
    searched: ClassVar[dict] = {}  # what of them `kzoo.adapt` chooses, where nothing is said: name -> values
    unit: ClassVar[bool] = True
    classes: tuple
    dim: int

    def __init_subclass__(cls, **options):
        super().__init_subclass__(**options)
        KINDS[cls.__name__] = cls

    def __repr__(self) -> str:
        numbers = "".join(f", {name}={_short(getattr(self, name))}" for name in self.numbers)
        return f"<{type(self).__name__} of {len(self.classes)} classes, {self.dim} channels{numbers}>"

    def _settle(self, classes, dim, **state):
        """Take what is kept: classes, channels, and each of `tensors` and `numbers`."""
        self.classes, self.dim = classes, int(dim)
        vars(self).update(state)

    def _with(self, **state) -> Self:
        """A copy in which some of what is kept is another."""
        other = copy.copy(self)
        vars(other).update(state)
        return other

    def with_numbers(self, **numbers) -> Self:
        """The same classifier with other numbers, such as those that are in its `repr`.

        Args:
            **numbers: by name.

        Returns:
            a new one; this one stays as it is.

        Raises:
            TypeError: a number that it has not.
            ValueError: one that cannot be.

        Example:
            >>> classifier.with_numbers(alpha=0.5)
            <GaussianDiscriminant of 2 classes, 512 channels, scale=100, alpha=0.5>
        """
        unknown = next((name for name in numbers if name not in self.numbers), None)
        if unknown is not None:
            has = ", ".join(self.numbers) or "none"
            raise TypeError(f"{type(self).__name__} has no number {unknown!r}; it has {has}.")
        check(self.numbers, numbers)
        return self._remade(**numbers)

    @classmethod
    def search_work(cls, rows, dim, classes) -> float:
        """About how many products it takes to try one set of `searched` numbers, where that is much."""
        return 0.0

    def _remade(self, **numbers):
        return self._with(**numbers)

    # -- in use --
    def logits(self, embeddings) -> Array:
        """Scores of each class, the larger the likelier.

        Args:
            embeddings: float array `(n, dim)` of the model that the classifier was made with; any length, unless the
                class says otherwise.

        Returns:
            float32 array `(n, classes)`.

        Raises:
            ValueError: embeddings of another width, or one that is zero or not finite; scores beyond float32.
        """
        with np.errstate(over="ignore", invalid="ignore"):  # which is told below
            scores = np.asarray(self._logits(rows_of(embeddings, dim=self.dim, unit=self.unit))).astype("float32")
        if not np.isfinite(scores).all():
            row, place = np.argwhere(~np.isfinite(scores))[0]
            raise ValueError(
                f"the score of class {self.classes[place]!r} for row {row} is {scores[row, place]}: numbers of "
                f"{self!r} are too large; make it with smaller ones."
            )
        return scores

    def predict(self, embeddings) -> Array:
        """The class of each row.

        Args:
            embeddings: as in `logits`.

        Returns:
            int64 array `(n,)`, places in `classes`; of equal scores the first.

        Raises:
            ValueError: as `logits`.

        Example:
            >>> [classifier.classes[place] for place in classifier.predict(embeddings)]
            ['wren', 'robin']
        """
        return self.logits(embeddings).argmax(axis=1)

    def accuracy(self, embeddings, labels) -> float:
        """Share of rows whose class is found.

        Args:
            embeddings: as in `logits`.
            labels: int array `(n,)`, places in `classes`.

        Returns:
            float in [0, 1].

        Raises:
            ValueError: as `logits`; labels out of range, or another number of them.
        """
        rows = rows_of(embeddings, dim=self.dim, unit=self.unit)
        labels = labels_of(labels, len(rows), len(self.classes))
        return float(np.mean(self.predict(rows) == labels))

    def _logits(self, rows):
        raise NotImplementedError(f"{type(self).__name__} gives no scores; define `_logits(rows)`.")

    # -- files --
    @takes(path=PATH)
    def save(self, path) -> None:
        """Write the classifier to a file, which `load` opens without Keras; a file that is there is replaced whole.

        Args:
            path: ending in `.safetensors`.

        Raises:
            ValueError: another ending, or numbers that no file could be opened with.
            OSError: the disk takes it not.
        """
        check_ending(path, SUFFIX)
        numbers = {name: getattr(self, name) for name in self.numbers}
        kept = {"kind": type(self).__name__, "classes": self.classes, "numbers": numbers}

        def give(put):
            for name in self.tensors:
                put(name, np.ascontiguousarray(getattr(self, name)))

        def look(name, array):
            _check_array(array, f"{name} of the classifier", "iu" if name == WHOLE else "f")

        with replacing_by_name(path) as place:
            write_tensors(place, give, {METADATA: json.dumps(kept, default=_plain)}, look)

    @classmethod
    @takes(path=PATH)
    def load(cls, path) -> "EmbeddingClassifier":
        """Open a file that `save` wrote.

        Args:
            path: of the file.

        Returns:
            a classifier of the class that was saved, which must be the one that is asked or come from it.

        Raises:
            FileNotFoundError: there is no file.
            ValueError: no file of a classifier, one of another kind, or one whose content does not go together.
        """
        path = Path(path)
        file = Safetensors(path)
        try:
            return cls._opened(file, _kept_in(file, path), path)
        except TypeError as error:  # what a caller gave would be an object of another type is a value in a file
            raise ValueError(f"{path} is no classifier that `save` wrote: {error}") from error

    @classmethod
    def _opened(cls, file, kept, path):
        kind = _kind_called(kept["kind"], path)
        if not issubclass(kind, cls):
            raise ValueError(f"{path} holds a {kind.__name__}, not a {cls.__name__}; open it as what it is.")
        missing = {*kind.tensors} ^ {*file.shapes} or {*kind.numbers} ^ {*kept["numbers"]}
        if missing:
            first = on_one_line(min(missing))[:100]
            raise ValueError(f"{path} is no {kind.__name__} of this version of kzoo: {first} is amiss.")
        classes = classes_of(kept["classes"])
        check(kind.numbers, kept["numbers"])
        sizes = {"classes": len(classes)}
        for name, axes in kind.tensors.items():
            shape = file.shapes[name]
            if len(shape) != len(axes) or any(sizes.setdefault(axis, side) != side for axis, side in zip(axes, shape)):
                raise ValueError(f"{path} does not go together: {name} has shape {shape} for {sizes}.")
        arrays = {name: file.read(name) for name in kind.tensors}
        for name, array in arrays.items():
            _check_array(array, f"{name} in {path}", "iu" if name == WHOLE else "f")
        for name, value in kept["numbers"].items():
            _check_array(np.asarray(value), f"{name} in {path}", "biuf")
        classifier = kind.__new__(kind)
        classifier._settle(classes, sizes["dim"], **arrays, **kept["numbers"])
        classifier._check_loaded(path)
        return classifier

    def _check_loaded(self, path):
        """Stops where arrays of a file have the right shapes and yet cannot be; a subclass that keeps labels looks."""


class TextClassifier(EmbeddingClassifier):
    """Base of those that add to the logits of the texts of their classes, `scale * cosine`."""

    tensors: ClassVar[dict] = {"zero_shot": ("classes", "dim")}
    numbers: ClassVar[dict] = {"scale": POSITIVE}
    arguments: ClassVar[dict] = {"scale": POSITIVE}

    def zero_shot_logits(self, rows) -> Array:
        """`scale * cosine` of unit-length rows with the text of each class, float32 `(n, classes)`."""
        return self.scale * (rows @ self.zero_shot.T)


def first_best(candidates, score) -> Any:
    """The first of the candidates that no other has a better score than."""
    candidates = list(candidates)
    return candidates[int(np.argmax([score(each) for each in candidates]))]


def _check_array(array, place, kinds):
    """Stops at numbers of a file that none of a classifier can be."""
    if array.dtype.kind not in kinds:
        wanted = "whole numbers" if kinds == "iu" else "floats"
        raise TypeError(f"{place} is of {array.dtype}, but {wanted} are expected.")
    check_finite(array, place)
    if array.dtype.kind == "f" and array.size and np.abs(array).max() > LARGEST:
        raise ValueError(f"{place} holds {array.flat[np.abs(array).argmax()]:g}, more than any classifier is made of.")


def _short(number):
    return str(number) if isinstance(number, bool) else f"{number:g}"


def _plain(number):
    """A number of numpy as one of Python."""
    return number.item()


def _kept_in(file, path):
    """What the metadata of a file say of the classifier in it."""
    header = parse_json(file.header.decode("utf-8"), f"the header of {path}")
    written = header.get("__metadata__") or {}
    if not isinstance(written, dict) or not isinstance(written.get(METADATA), str):
        raise ValueError(f"{path} holds no classifier of kzoo; give a file that its `save` wrote.")
    kept = parse_json(written[METADATA], f"the metadata of {path}")
    wanted = {"kind": str, "classes": list, "numbers": dict}
    if not isinstance(kept, dict) or any(not isinstance(kept.get(key), kind) for key, kind in wanted.items()):
        raise ValueError(f"{path} holds no classifier of kzoo: its metadata lack kind, classes or numbers.")
    unknown = next((key for key in kept if key not in wanted), None)
    if unknown is not None:
        raise ValueError(f"the metadata of {path} have a key {on_one_line(unknown)[:100]!r} that is not known.")
    return kept


def _kind_called(name, path):
    from importlib import import_module

    if name in HOMES:
        import_module(f"{__package__}.{HOMES[name]}")
    if name not in KINDS or KINDS[name]._logits is EmbeddingClassifier._logits:  # a base, which gives no scores
        raise ValueError(f"{path} holds a classifier of a kind that is not known, {name[:60]!r}; import its class.")
    return KINDS[name]
