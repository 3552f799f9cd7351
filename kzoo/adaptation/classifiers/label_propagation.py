"""Label propagation on the graph of nearest neighbours, from texts, from labelled pictures, or from both."""

from typing import ClassVar

import numpy as np

from kzoo.adaptation.classifiers.arrays import classes_of, labels_of, rows_of
from kzoo.adaptation.classifiers.classifier import EmbeddingClassifier
from kzoo.arguments import COUNT, INNER, POSITIVE
from kzoo.extras import require
from kzoo.types import Array

BLOCK = 1024  # rows whose similarities are held at a time
PRECISE, STEPS = 1e-8, 1000  # of the conjugate gradients
STATE = {"texts": ("texts", "dim"), "bank": ("rows", "dim"), "influence": ("nodes", "classes")}


class LabelPropagation(EmbeddingClassifier):
    """Labels flow along the graph of the k nearest neighbours: `(I - alpha D^-1/2 W D^-1/2)^-1 Y`.

    Nodes are the texts of the classes and all pictures, labelled or not; a picture is joined to its k nearest pictures
    with their cosine, and to its k nearest texts with `cosine ** gamma`, because texts lie further away than pictures
    do. Negative cosines join nothing. Pictures that come later ask their own neighbours in the graph.

    Args:
        embeddings: float array `(n, dim)` of pictures; any length. The more without a label, the better the graph.
        zero_shot: float array `(classes, dim)`, the texts of the classes, or None.
        labels: int array `(n,)`, places of their classes, -1 for a picture without one; or None. A labelled picture
            counts as much as a text (our choice: the paper has texts alone).
        classes: names; default their numbers.
        k: neighbours.
        gamma: power of the cosines with texts.
        alpha: how far labels flow.

    Attributes:
        transduced: float32 array `(n, classes)`, the scores of the pictures of the graph themselves.

    Raises:
        ValueError: neither texts nor labels; without texts a class without a labelled picture; more neighbours than
            pictures; arrays that do not go together.
        ImportError: scipy is not installed.

    Example:
        >>> found = LabelPropagation(model.encode_image(photos), texts, classes=classes)
        >>> found.transduced.argmax(axis=1), found.predict(model.encode_image(["cat.jpg"]))

    Reference:
        Stojnic et al., Label Propagation for Zero-shot Classification with Vision-Language Models (ZLaP), 2024, arXiv
        2404.04072; after Zhou et al., Learning with Local and Global Consistency, 2004.
    """

    tensors: ClassVar[dict] = STATE
    numbers: ClassVar[dict] = {"k": COUNT, "gamma": POSITIVE, "alpha": INNER}
    arguments: ClassVar[dict] = {"k": COUNT, "gamma": POSITIVE, "alpha": INNER}

    def __init__(self, embeddings, zero_shot=None, labels=None, classes=None, k=5, gamma=5.0, alpha=0.3):
        rows = rows_of(embeddings)
        if zero_shot is None and labels is None:
            raise ValueError("there are neither texts nor labels to propagate; give zero_shot, labels, or both.")
        texts = np.zeros((0, rows.shape[1]), "float32")
        if zero_shot is not None:
            texts = rows_of(zero_shot, "zero_shot", rows.shape[1])
        if k > len(rows):
            raise ValueError(f"k is {k}, but there are {len(rows)} pictures; give a smaller k, or more pictures.")
        classes, seeds = _seeds(rows, texts, labels, classes)
        self._settle(classes, rows.shape[1], texts=texts, bank=rows, k=int(k), gamma=float(gamma), alpha=float(alpha))
        self.influence = self._propagated(seeds)

    @property
    def transduced(self) -> Array:
        return self.influence[len(self.texts) :].astype("float32")

    def _logits(self, rows) -> Array:
        places, weights = self._joined(rows)
        return np.einsum("nk,nkc->nc", weights, self.influence[places])

    def _check_loaded(self, path):
        if len(self.influence) != len(self.texts) + len(self.bank) or self.k > len(self.bank):
            raise ValueError(f"{path} does not go together: it has not a row of influence for each text and picture.")

    def _joined(self, rows):
        """Nodes that rows are joined to, and how strongly: `(n, k)` pictures and then `(n, k)` texts."""
        nearest = [self._nearest(rows, self.bank, len(self.texts), 1.0), self._nearest(rows, self.texts, 0, self.gamma)]
        return tuple(np.concatenate(both, axis=1) for both in zip(*nearest))

    def _nearest(self, rows, others, first, power):
        places, weights = [], []
        for start in range(0, len(rows), BLOCK):
            cosines = rows[start : start + BLOCK] @ others.T
            near = np.argsort(-cosines, axis=1, kind="stable")[:, : self.k]
            places.append(near + first)
            weights.append(np.maximum(np.take_along_axis(cosines, near, axis=1), 0.0).astype("float64") ** power)
        return np.concatenate(places), np.concatenate(weights)

    def _propagated(self, seeds):
        """The scores of all nodes, float64 `(nodes, classes)`, from seeds of the same shape."""
        sparse = require("scipy.sparse", "probes", "Label propagation")
        linalg = require("scipy.sparse.linalg", "probes", "Label propagation")
        places, weights = self._joined(self.bank)
        nodes = len(seeds)
        from_ = np.repeat(np.arange(len(self.texts), nodes), places.shape[1])
        graph = sparse.csr_array((weights.ravel(), (from_, places.ravel())), shape=(nodes, nodes))
        graph = graph + graph.T
        graph = graph - sparse.diags_array(graph.diagonal())
        degrees = np.asarray(graph.sum(axis=1)).ravel()
        root = sparse.diags_array(1.0 / np.sqrt(np.where(degrees > 0, degrees, 1.0)))
        system = sparse.eye_array(nodes) - self.alpha * (root @ graph @ root)
        solved = np.empty_like(seeds)
        for place, seed in enumerate(seeds.T):
            solved[:, place], unsolved = linalg.cg(system, seed, rtol=PRECISE, maxiter=STEPS)
            if unsolved:
                raise ValueError(f"alpha is {self.alpha}, with which labels do not settle; give a smaller one.")
        return solved


def _seeds(rows, texts, labels, classes):
    """Names of the classes, and where their labels start: float64 `(texts + pictures, classes)`."""
    count = len(texts) or (None if classes is None else len(classes_of(classes)))
    if labels is not None:
        labels = labels_of(labels, len(rows), count, unknown=True)
        count = int(labels.max()) + 1 if count is None else count
    classes = classes_of(classes, count)
    seeds = np.zeros((len(texts) + len(rows), len(classes)))
    seeds[: len(texts)] = np.eye(len(texts), len(classes))
    if labels is not None:
        known = np.flatnonzero(labels >= 0)
        seeds[len(texts) + known, labels[known]] = 1.0
    if not seeds.any(axis=0).all():
        name = classes[int(np.argmin(seeds.any(axis=0)))]
        raise ValueError(f"class {name!r} has no labelled picture and no text; give at least one of each class.")
    return classes, seeds
