"""The classes of a page: a few numbers that a browser can compute with. No Keras."""

from dataclasses import dataclass

import numpy as np

from kzoo.evaluation.zero_shot import class_embeddings, fill_templates
from kzoo.inference.embed import BATCH_SIZE
from kzoo.types import Array

CHECKED, SEED = 64, 0  # directions at which a classifier is compared with its plane form
PRECISION = 1e-5  # of scores, relative to the largest


@dataclass(frozen=True)
class Votes:
    """What the pictures of a `TipAdapter` add to the score of their class: `alpha * exp(beta * (cosine - 1))`."""

    keys: Array  # (pictures, dim)
    labels: Array  # (pictures,)
    alpha: float
    beta: float


@dataclass(frozen=True)
class Classes:
    """Scores of an embedding `e` of unit length: `weights @ e + bias`, and the votes of pictures if there are some."""

    names: tuple
    weights: Array  # (classes, dim)
    bias: Array  # (classes,)
    votes: Votes | None = None

    def scores(self, embeddings) -> Array:
        """As the page computes them: float32 `(n, dim)` to `(n, classes)`."""
        scores = embeddings @ self.weights.T + self.bias
        if self.votes is not None:
            near = np.exp(self.votes.beta * (embeddings @ self.votes.keys.T - 1.0))
            scores = scores + self.votes.alpha * near @ np.eye(len(self.names))[self.votes.labels]
        return scores

    def numbers(self) -> bytes:
        """All of them as float32, in the order of the page: weights, bias, keys."""
        keys = () if self.votes is None else (self.votes.keys,)
        return b"".join(np.ascontiguousarray(each, "<f4").tobytes() for each in (self.weights, self.bias, *keys))


def of_labels(model, labels, templates, batch_size=BATCH_SIZE) -> Classes:
    """Those that `model.classify(images, labels, templates, batch_size)` has.

    Raises:
        ValueError: no labels, one of them twice, a template without `{}`; as `encode_text`.
        TypeError: something else than strings.
    """
    texts = fill_templates(labels, templates)
    names = tuple(labels)
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise ValueError(f"labels has {twice!r} twice; give each class once.")
    scale, bias = model.scale_and_bias()
    weights = scale * class_embeddings(model.encode_text(texts, batch_size), len(names))
    return Classes(names, weights.astype("float32"), np.full(len(names), bias, "float32"))


def of_classifier(classifier) -> Classes:
    """Those of a classifier of embeddings whose scores are plane, whatever its class calls its numbers; or of a
    `TipAdapter`.

    Args:
        classifier: a `kzoo.adaptation.EmbeddingClassifier`.

    Raises:
        NotImplementedError: its scores are none that a page computes.
    """
    from kzoo.adaptation.classifiers.tip_adapter import TipAdapter

    if isinstance(classifier, TipAdapter):
        votes = Votes(classifier.keys, classifier.labels, classifier.alpha, classifier.beta)
        weights = classifier.scale * classifier.zero_shot
        found = Classes(classifier.classes, weights, np.zeros(len(weights), "float32"), votes)
    else:
        ahead, behind = (classifier.logits(sign * np.eye(classifier.dim)).astype("float64") for sign in (1.0, -1.0))
        bias = (ahead + behind).mean(axis=0) / 2.0
        weights = ((ahead - behind) / 2.0).T
        found = Classes(classifier.classes, weights.astype("float32"), bias.astype("float32"))
    random = np.random.default_rng(SEED).normal(size=(CHECKED, classifier.dim))
    rows = (random / np.linalg.norm(random, axis=1, keepdims=True)).astype("float32")
    meant = classifier.logits(rows)
    if np.abs(found.scores(rows) - meant).max() > PRECISION * max(1.0, float(np.abs(meant).max())):
        raise NotImplementedError(
            f"{classifier!r} has no scores of the form W e + b, nor those of a TipAdapter, which is all that a page "
            "computes; make a GaussianDiscriminant, a LinearProbe or a TipAdapter of the same pictures."
        )
    return found
