"""Gaussian discriminant analysis of embeddings, beside the texts of the classes."""

from typing import ClassVar, Self

import numpy as np

from kzoo.adaptation.classifiers.arrays import classes_of, examples_of, means_of, rows_of
from kzoo.adaptation.classifiers.classifier import SCALE, TextClassifier, first_best
from kzoo.arguments import AMOUNT, NOT_NEGATIVE, POSITIVE, one_of, takes, whole
from kzoo.types import Array

ALPHAS = (1e-4, 1e-3, 1e-2, 1e-1, 1.0, 10.0, 100.0)  # those of the authors' code
# of `kzoo.adapt`: with some pictures left out the Gaussians are worth less, so of equal ones it is the larger share
TRIED = (1.0, 10.0, 100.0, 0.1, 1e-2, 1e-3, 1e-4)


class GaussianDiscriminant(TextClassifier):
    """The classes as Gaussians of one covariance, in closed form, beside zero-shot:
    `scale * x W^T + alpha * (x (mu P)^T - log C - mu P mu^T / 2)`.

    `mu` are the means of the classes and `P` is the precision. With few pictures the covariance has no inverse; its
    empirical Bayes ridge has one, `P = D * inverse((N - 1) S + trace(S) I)`.

    Args:
        embeddings: float array `(n, dim)` of pictures; any length.
        labels: int array `(n,)`, places of their classes.
        zero_shot: float array `(classes, dim)`, the texts of the classes.
        classes: names; default their numbers.
        alpha: share of the Gaussians; 0 is zero-shot. `tuned` chooses it.
        scale: of the zero-shot logits, `model.scale_and_bias()[0]`.
        covariance: `"pooled"`, of all pictures around the means of their classes, with the ridge: for few pictures;
            `"mean"`, the mean of the covariances of each class, with its pseudo-inverse: what the paper takes of the
            seen classes where there are unseen ones.

    The pseudo-inverse leaves out directions that float32 embeddings cannot tell from rounding, as that of the authors
    does in float32; the sums are in float64. `D` is the width of the embeddings, which their code fixes at 512 for the
    unseen classes.

    Raises:
        ValueError: a class without a picture; pictures that are each alone or all alike, of which there is no
            covariance; a single one in a class with `"mean"`; arrays that do not go together.

    Example:
        >>> classifier = GaussianDiscriminant(model.encode_image(shots), labels, texts, classes)
        >>> classifier = classifier.tuned(model.encode_image(held_out), held_out_labels)

    Reference:
        Wang et al., A Hard-to-Beat Baseline for Training-free CLIP-based Adaptation, 2024, arXiv 2402.04087.
    """

    tensors: ClassVar[dict] = TextClassifier.tensors | {"weights": ("classes", "dim"), "bias": ("classes",)}
    numbers: ClassVar[dict] = TextClassifier.numbers | {"alpha": NOT_NEGATIVE}
    searched: ClassVar[dict] = {"alpha": TRIED}
    arguments: ClassVar[dict] = {"alpha": NOT_NEGATIVE, "covariance": one_of("pooled", "mean")}

    def __init__(self, embeddings, labels, zero_shot, classes=None, alpha=1.0, scale=SCALE, covariance="pooled"):
        texts = rows_of(zero_shot, "zero_shot")
        rows, labels, classes = examples_of(embeddings, labels, classes, len(texts))
        rows_of(rows, dim=texts.shape[1])
        means = means_of(rows, labels, len(classes))
        centred = rows - means[labels]
        if not centred.any() or np.abs(centred).max() < np.finfo("float32").eps:
            raise ValueError(
                "no class has two pictures that differ, so there is no covariance; give more pictures, or several "
                "augmented views of each."
            )
        precision = _ridge(_covariance(centred, len(rows) - 1), len(rows) - 1)
        if covariance == "mean":
            counts = np.bincount(labels)
            if counts.min() < 2:
                raise ValueError(
                    f"class {classes[int(counts.argmin())]!r} has one picture, which has no covariance of its own; "
                    "give at least two, or covariance='pooled'."
                )
            each = [_covariance(centred[labels == place], counts[place] - 1) for place in range(len(classes))]
            precision = _pseudo_inverse(np.mean(each, axis=0))
        weights, bias = _discriminant(means, precision)
        self._settle(
            classes, texts.shape[1], zero_shot=texts, weights=weights, bias=bias, alpha=float(alpha), scale=float(scale)
        )

    @classmethod
    @takes(alpha=NOT_NEGATIVE, scale=POSITIVE, neighbours=whole(2), copies=AMOUNT)
    def of_unseen(
        cls, embeddings, zero_shot, classes=None, alpha=1.0, scale=SCALE, neighbours=64, copies=16
    ) -> "GaussianDiscriminant":
        """For classes of which there is no picture: each borrows those of others that are nearest to its text.

        Its mean is that of these and of some copies of the text, the precision the mean of the ridges of each, around
        the text.

        Args:
            embeddings: float array `(n, dim)` of pictures of seen classes; their labels are not asked for.
            zero_shot: float array `(classes, dim)`, the texts of the unseen classes.
            classes: their names.
            alpha: that of the seen classes.
            scale: of the zero-shot logits.
            neighbours: how many pictures each borrows.
            copies: of the text, among them.

        Raises:
            ValueError: fewer pictures than neighbours; arrays that do not go together.
        """
        texts = rows_of(zero_shot, "zero_shot")
        rows, classes = rows_of(embeddings, dim=texts.shape[1]), classes_of(classes, len(texts))
        if len(rows) < neighbours:
            raise ValueError(f"neighbours is {neighbours}, but there are {len(rows)} pictures; give a smaller number.")
        near = np.argsort(-(texts @ rows.T), axis=1, kind="stable")[:, :neighbours]  # (classes, neighbours)
        borrowed = rows[near].astype("float64")
        means = (borrowed.sum(axis=1) + copies * texts) / (neighbours + copies)
        each = [_covariance(own - text, neighbours - 1) for own, text in zip(borrowed, texts)]
        precision = np.mean([_ridge(covariance, neighbours - 1) for covariance in each], axis=0)
        weights, bias = _discriminant(means, precision)
        found = cls.__new__(cls)
        found._settle(
            classes, texts.shape[1], zero_shot=texts, weights=weights, bias=bias, alpha=float(alpha), scale=float(scale)
        )
        return found

    def _logits(self, rows) -> Array:
        return self.zero_shot_logits(rows) + self.alpha * (rows @ self.weights.T + self.bias)

    def tuned(self, embeddings, labels, alphas=ALPHAS) -> Self:
        """The same classifier with the alpha that finds most of other pictures; of equal ones the first.

        Args:
            embeddings, labels: pictures that it was not made of, as in `accuracy`.
            alphas: those that are tried.

        Returns:
            a new `GaussianDiscriminant`; this one stays as it is.
        """
        for alpha in alphas:
            NOT_NEGATIVE("alpha", alpha)
        return first_best(
            (self._with(alpha=float(alpha)) for alpha in alphas), lambda e: e.accuracy(embeddings, labels)
        )


def _covariance(centred, count):
    """Sum of squares of rows that are centred, over `count`: `(dim, dim)`."""
    centred = np.asarray(centred, "float64")
    return centred.T @ centred / count


def _ridge(covariance, count):
    dim = len(covariance)
    return dim * _pseudo_inverse(count * covariance + np.trace(covariance) * np.eye(dim))


def _pseudo_inverse(matrix):
    return np.linalg.pinv(matrix, rtol=len(matrix) * np.finfo("float32").eps, hermitian=True)


def _discriminant(means, precision):
    """Weights `(classes, dim)` and biases `(classes,)` of Gaussians that are equally frequent."""
    weights = means @ precision
    return weights, -np.log(len(means)) - 0.5 * np.einsum("cd,cd->c", weights, means)
