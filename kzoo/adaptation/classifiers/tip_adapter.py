"""Tip-Adapter: pictures as a cache of keys and labels, beside the texts of the classes; and its trained form."""

from typing import ClassVar, Self

import numpy as np

from kzoo.adaptation.classifiers.arrays import examples_of, labels_of, rows_of
from kzoo.adaptation.classifiers.classifier import SCALE, TextClassifier
from kzoo.arguments import AMOUNT, COUNT, NOT_NEGATIVE, POSITIVE, sequence, takes
from kzoo.types import Array

SEARCHED, STEPS = (7.0, 3.0), (200, 20)  # of beta and of alpha, as the authors search them on ImageNet
LEAST = 0.1  # where their search begins
# of `kzoo.adapt`, a coarse grid over the ranges that they search on all data sets
TRIED_ALPHAS, TRIED_BETAS = (0.3, 1.0, 3.0, 10.0, 30.0), (1.0, 3.0, 5.5, 10.0, 20.0, 50.0)
SIZES, COUNTS = (
    sequence(POSITIVE, "two positive numbers", 2, 2),
    sequence(COUNT, "two whole numbers of at least 1", 2, 2),
)


class TipAdapter(TextClassifier):
    """A cache of pictures that votes beside zero-shot:
    `scale * x W^T + alpha * sum_i exp(-beta (1 - x k_i)) onehot(label_i)`.

    Args:
        embeddings: float array `(n, dim)` of pictures, the keys; any length. Of several augmented views of a picture
            the authors take the mean.
        labels: int array `(n,)`, places of their classes.
        zero_shot: float array `(classes, dim)`, the texts of the classes.
        classes: names; default their numbers.
        alpha: share of the cache; 0 is zero-shot.
        beta: how fast a vote falls with the distance of a key.
        scale: of the zero-shot logits, `model.scale_and_bias()[0]`.

    The defaults of alpha and beta are the authors' for ImageNet; `tuned` chooses them, `trained` trains the keys.

    Raises:
        ValueError: a class without a picture; arrays that do not go together.

    Example:
        >>> cache = TipAdapter(model.encode_image(shots), labels, texts, classes)
        >>> cache = cache.trained(model.encode_image(shots), labels).tuned(held_out, held_out_labels)

    Reference:
        Zhang et al., Tip-Adapter, 2022, arXiv 2207.09519; before as arXiv 2111.03930.
    """

    tensors: ClassVar[dict] = TextClassifier.tensors | {"keys": ("rows", "dim"), "labels": ("rows",)}
    numbers: ClassVar[dict] = TextClassifier.numbers | {"alpha": NOT_NEGATIVE, "beta": NOT_NEGATIVE}
    searched: ClassVar[dict] = {"alpha": TRIED_ALPHAS, "beta": TRIED_BETAS}
    arguments: ClassVar[dict] = {"alpha": NOT_NEGATIVE, "beta": NOT_NEGATIVE}

    def __init__(self, embeddings, labels, zero_shot, classes=None, alpha=1.17, beta=1.0, scale=SCALE):
        texts = rows_of(zero_shot, "zero_shot")
        rows, labels, classes = examples_of(embeddings, labels, classes, len(texts))
        rows_of(rows, dim=texts.shape[1])
        self._settle(
            classes,
            texts.shape[1],
            zero_shot=texts,
            keys=rows,
            labels=labels,
            alpha=float(alpha),
            beta=float(beta),
            scale=float(scale),
        )

    @classmethod
    def search_work(cls, rows, dim, classes) -> float:
        return float(rows * rows * classes)

    def _check_loaded(self, path):
        labels_of(self.labels, len(self.keys), len(self.classes), name=f"labels in {path}")

    def _logits(self, rows) -> Array:
        return self.zero_shot_logits(rows) + self.alpha * self._votes(rows @ self.keys.T, self.beta)

    def _votes(self, affinities, beta):
        """What the cache says at affinities `(n, rows)`: `(n, classes)`."""
        return np.exp(beta * (affinities - 1.0)) @ self._one_hot()

    def _one_hot(self):
        return np.eye(len(self.classes), dtype="float32")[self.labels]

    @takes(largest=SIZES, steps=COUNTS)
    def tuned(self, embeddings, labels, largest=SEARCHED, steps=STEPS) -> Self:
        """The same classifier with the beta and alpha that find most of other pictures; of equal ones the first.

        Args:
            embeddings, labels: pictures that it was not made of, as in `accuracy`.
            largest: of beta and of alpha; what is tried begins at 0.1 and ends one step before it. The authors have a
                pair for each data set, from (7, 3) of ImageNet to (50, 50) of flowers.
            steps: how many of each.

        Returns:
            a new `TipAdapter`; this one stays as it is.
        """
        rows = rows_of(embeddings, dim=self.dim)
        labels = labels_of(labels, len(rows), len(self.classes))
        texts, affinities = self.zero_shot_logits(rows), rows @ self.keys.T
        betas, alphas = (LEAST + (most - LEAST) / count * np.arange(count) for most, count in zip(largest, steps))
        best = (-1.0, self.alpha, self.beta)
        for beta in betas:
            votes = self._votes(affinities, beta)
            for alpha in alphas:
                found = np.mean(np.argmax(texts + alpha * votes, axis=1) == labels)
                if found > best[0]:
                    best = (found, float(alpha), float(beta))
        return self._with(alpha=best[1], beta=best[2])

    @takes(epochs=COUNT, learning_rate=POSITIVE, batch_size=COUNT, seed=AMOUNT)
    def trained(self, embeddings, labels, epochs=20, learning_rate=1e-3, batch_size=256, seed=0) -> Self:
        """Tip-Adapter-F: the same classifier with keys that were trained, by Keras on its backend.

        The cross-entropy of the pictures, AdamW (epsilon 1e-4, weight decay 0.01) and a cosine to 0, as in the authors'
        code; that embeds the pictures anew in each epoch, each time another crop, where here stored embeddings stand:
        hand over those of several augmented views for the same. It keeps the epoch that is best on the test set, here
        it is the last.

        Args:
            embeddings, labels: pictures to train on, mostly those that it was made of.
            epochs: passes over them.
            learning_rate: at the beginning.
            batch_size: pictures per step.
            seed: of their order.

        Returns:
            a new `TipAdapter`, whose keys have no unit length any more; this one stays as it is.
        """
        from kzoo.adaptation.small_fit import fit_cache

        rows = rows_of(embeddings, dim=self.dim)
        labels = labels_of(labels, len(rows), len(self.classes))
        values, texts = self._one_hot(), self.zero_shot_logits(rows)
        options = {"epochs": epochs, "learning_rate": learning_rate, "batch_size": batch_size, "seed": seed}
        return self._with(keys=fit_cache(self.keys, values, self.alpha, self.beta, rows, texts, labels, **options))
