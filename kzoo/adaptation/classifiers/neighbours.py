"""The classifier of the k nearest neighbours."""

from typing import ClassVar, Self

import numpy as np

from kzoo.adaptation.classifiers.arrays import examples_of, labels_of
from kzoo.adaptation.classifiers.classifier import EmbeddingClassifier, first_best
from kzoo.arguments import COUNT, number
from kzoo.types import Array

BLOCK = 1024  # rows whose similarities are held at a time
TEMPERATURE = number(least=0.02).said("a number of at least 0.02, below which float32 does not hold the weights")


class KNearestNeighbours(EmbeddingClassifier):
    """The k nearest pictures vote, weighted by their cosine: `sum_i exp(s_i / temperature)` of each class's among them.

    Args:
        embeddings: float array `(n, dim)` of pictures, the bank; any length.
        labels: int array `(n,)`, places of their classes.
        classes: names; default their numbers.
        k: how many vote; 20 is DINO's, which also gives 10, 100 and 200.
        temperature: of the weights.

    Of pictures that are equally near the first are taken, and of equal scores the first class (our choice).

    Raises:
        ValueError: a class without a picture; more neighbours than pictures; arrays that do not go together.

    Example:
        >>> neighbours = KNearestNeighbours(model.encode_image(train), labels, classes, k=20)
        >>> neighbours.accuracy(model.encode_image(test), answers)
        0.81

    Reference:
        Caron et al., DINO, 2021, arXiv 2104.14294; Wu et al., 2018, arXiv 1805.01978.
    """

    tensors: ClassVar[dict] = {"bank": ("rows", "dim"), "labels": ("rows",)}
    numbers: ClassVar[dict] = {"k": COUNT, "temperature": TEMPERATURE}
    arguments: ClassVar[dict] = {"k": COUNT, "temperature": TEMPERATURE}

    def __init__(self, embeddings, labels, classes=None, k=20, temperature=0.07):
        rows, labels, classes = examples_of(embeddings, labels, classes)
        _check_k(k, len(rows))
        self._settle(classes, rows.shape[1], bank=rows, labels=labels, k=int(k), temperature=float(temperature))

    def _check_loaded(self, path):
        labels_of(self.labels, len(self.bank), len(self.classes), name=f"labels in {path}")
        _check_k(self.k, len(self.bank))

    def _logits(self, rows) -> Array:
        return np.concatenate([self._scores(rows[start : start + BLOCK]) for start in range(0, len(rows), BLOCK)])

    def _scores(self, rows):
        similarities = rows @ self.bank.T  # (block, rows of the bank)
        near = np.argsort(-similarities, axis=1, kind="stable")[:, : self.k]
        weights = np.exp(np.take_along_axis(similarities, near, axis=1).astype("float64") / self.temperature)
        scores = np.zeros((len(rows), len(self.classes)))
        np.add.at(scores, (np.arange(len(rows))[:, None], self.labels[near]), weights)
        return scores

    def tuned(self, embeddings, labels, ks=(10, 20, 100, 200)) -> Self:
        """The same classifier with the k that finds most of other pictures; of equal ones the first.

        Args:
            embeddings, labels: pictures that are not in the bank, as in `accuracy`.
            ks: those that are tried; such as exceed the bank are not.

        Returns:
            a new `KNearestNeighbours`; this one stays as it is.

        Raises:
            ValueError: the bank is smaller than all of them.
        """
        ks = [int(COUNT("k", k)) for k in ks]
        fitting = [k for k in ks if k <= len(self.bank)]
        if not fitting:
            _check_k(min(ks, default=1), len(self.bank))
            raise ValueError("ks is empty; give at least one number of neighbours.")
        return first_best((self._with(k=k) for k in fitting), lambda each: each.accuracy(embeddings, labels))


def _check_k(k, count):
    if k > count:
        raise ValueError(f"k is {k}, but the bank has {count} pictures; give a smaller k, or more pictures.")
