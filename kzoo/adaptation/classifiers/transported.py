"""The classifier of means that are moved to where the pictures are, by optimal transport."""

from typing import ClassVar

import numpy as np

from kzoo.adaptation.classifiers.arrays import examples_of, means_of
from kzoo.adaptation.classifiers.classifier import SCALE, EmbeddingClassifier
from kzoo.arguments import COUNT, POSITIVE
from kzoo.types import Array

STEPS, SETTLED = 1000, 1e-4  # of Sinkhorn's algorithm: at most so many, until potentials move by less


class TransportedMeans(EmbeddingClassifier):
    """Nearest class means, aligned with the pictures that are asked for (BECLR's OpTA).

    A few pictures are a biased sample of a class. All pictures of a call are taken for as many of each class: an
    optimal transport plan between the means and them, entropy regularised, moves each mean to the pictures that it
    goes with, `p_c <- sum_i pi_ci x_i / sum_i pi_ci`. Scores are `scale (1 - ||x - p_c||^2 / 2)`.

    So the scores of a picture depend on those that are given with it: give all of an episode at once, with about as
    many of each class. One alone would draw all means to itself.

    Args:
        embeddings: float array `(n, dim)` of pictures; any length.
        labels: int array `(n,)`, places of their classes.
        classes: names; default their numbers.
        epsilon: of the regularisation, for costs whose largest is 1.
        passes: how often means are moved.
        scale: of the scores.

    Raises:
        ValueError: a class without a picture; arrays that do not go together.

    Example:
        >>> made = TransportedMeans(model.encode_image(shots), labels, classes)
        >>> made.predict(model.encode_image(episode))  # all of them at once
        array([0, 2, 1, ...])

    Reference:
        Poulakakis-Daktylidis and Jamali-Rad, BECLR, 2024, arXiv 2402.02444. That the nearest mean decides, where the
        authors fit a logistic regression to one row of each class, is our choice.
    """

    tensors: ClassVar[dict] = {"means": ("classes", "dim")}
    numbers: ClassVar[dict] = {"epsilon": POSITIVE, "passes": COUNT, "scale": POSITIVE}
    arguments: ClassVar[dict] = {"epsilon": POSITIVE, "passes": COUNT, "scale": POSITIVE}

    def __init__(self, embeddings, labels, classes=None, epsilon=0.05, passes=1, scale=SCALE):
        rows, labels, classes = examples_of(embeddings, labels, classes)
        means = means_of(rows, labels, len(classes)).astype("float32")
        numbers = {"epsilon": float(epsilon), "passes": int(passes), "scale": float(scale)}
        self._settle(classes, rows.shape[1], means=means, **numbers)

    def transported(self, embeddings) -> Array:
        """The means as they are moved for some pictures, of unit length, float64 `(classes, dim)`."""
        rows, means = embeddings.astype("float64"), self.means.astype("float64")
        for _ in range(self.passes):
            plan = transport_plan(squared_distances(means, rows), self.epsilon)
            means = (plan / plan.sum(axis=1, keepdims=True)) @ rows
        return means

    def _logits(self, rows) -> Array:
        distances = squared_distances(rows.astype("float64"), self.transported(rows))
        return self.scale * (1.0 - distances / 2.0)


def squared_distances(one, other) -> Array:
    """`||a_i - b_j||^2`, `(n, m)`."""
    found = (one**2).sum(axis=1)[:, None] + (other**2).sum(axis=1)[None] - 2.0 * one @ other.T
    return np.maximum(found, 0.0)


def transport_plan(cost, epsilon, steps=STEPS) -> Array:
    """The plan between rows and columns of equal weights that is cheapest, `sum pi c - epsilon H(pi)` (Sinkhorn).

    Args:
        cost: float array `(n, m)` of no negative numbers; its largest stands for 1.
        epsilon: of the entropy.
        steps: at most so many.

    Returns:
        float64 array `(n, m)`; columns sum to `1 / m`, and rows, once settled, to `1 / n`.

    Example:
        >>> transport_plan(np.array([[0.0, 1.0], [1.0, 0.0]]), 0.1).round(3)
        array([[0.5, 0. ], [0. , 0.5]])

    Reference:
        Cuturi, Sinkhorn Distances, 2013, arXiv 1306.0895.
    """
    kernel = -cost / max(cost.max(), np.finfo("float64").tiny) / epsilon
    rows, columns = (np.full(side, -np.log(side)) for side in cost.shape)
    u, v = np.zeros(cost.shape[0]), np.zeros(cost.shape[1])
    for _ in range(steps):
        before = u
        u = rows - _log_sum(kernel + v, axis=1)
        v = columns - _log_sum(kernel + u[:, None], axis=0)
        if epsilon * np.abs(u - before).sum() < SETTLED:
            break
    return np.exp(kernel + u[:, None] + v)


def _log_sum(values, axis):
    largest = values.max(axis=axis, keepdims=True)
    return (largest + np.log(np.exp(values - largest).sum(axis=axis, keepdims=True))).squeeze(axis)
