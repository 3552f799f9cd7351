"""The linear probe: logistic regression by L-BFGS, with the published search of C."""

import math
import warnings
from typing import ClassVar, Self

import numpy as np

from kzoo.adaptation.classifiers.arrays import examples_of, labels_of, rows_of
from kzoo.adaptation.classifiers.classifier import EmbeddingClassifier
from kzoo.arguments import AMOUNT, COUNT, FLAG, POSITIVE, takes
from kzoo.extras import require
from kzoo.types import Array

SWEEP = (1e6, 1e4, 1e2, 1.0, 1e-2, 1e-4, 1e-6)  # the first of equal ones is taken: the weakest penalty
ROUNDS = 8
STEPS_TO_FIT = 100.0  # of L-BFGS, about
TRIED = (1.0, 0.1, 10.0, 100.0, 1000.0)  # of `kzoo.adapt`


class LinearProbe(EmbeddingClassifier):
    """Multinomial logistic regression with an L2 penalty, by scikit-learn's L-BFGS.

    Embeddings are taken as they are: unit-length ones of `encode_image`, or features before the projection, which the
    paper of CLIP probes. Those need another C; `tuned` searches it.

    Args:
        embeddings: float array `(n, dim)` of pictures.
        labels: int array `(n,)`, places of their classes.
        classes: names; default their numbers.
        C: inverse of the penalty.
        max_iter: of the optimizer; where it ends before it has converged a warning says so.

    Raises:
        ValueError: a class without a picture; arrays that do not go together.
        ImportError: scikit-learn is not installed.

    Example:
        >>> probe = LinearProbe(model.encode_image(train), labels, classes)
        >>> probe = probe.tuned(model.encode_image(held_out), held_out_labels)

    Reference:
        Radford et al., CLIP, 2021, arXiv 2103.00020, appendix A.3; the search as in the code of Zhou et al., CoOp,
        2021, arXiv 2109.01134.
    """

    unit = False
    examples = None  # embeddings and labels that it was fitted to; a file does not have them
    tensors: ClassVar[dict] = {"weights": ("classes", "dim"), "bias": ("classes",)}
    numbers: ClassVar[dict] = {"C": POSITIVE}
    searched: ClassVar[dict] = {"C": TRIED}
    arguments: ClassVar[dict] = {"C": POSITIVE, "max_iter": COUNT}

    def __init__(self, embeddings, labels, classes=None, C=1.0, max_iter=1000):
        rows, labels, classes = examples_of(embeddings, labels, classes, unit=False)
        weights, bias = _fitted(rows, labels, C, max_iter)
        self.examples, self.max_iter = (rows, labels), int(max_iter)
        self._settle(classes, rows.shape[1], weights=weights, bias=bias, C=float(C))

    def _logits(self, rows) -> Array:
        return rows @ self.weights.T + self.bias

    @takes(rounds=AMOUNT, refit=FLAG)
    def tuned(self, embeddings, labels, rounds=ROUNDS, refit=False) -> Self:
        """The probe with the C that finds most of other pictures, as CLIP and CoOp search it.

        Powers of 100 from 1e6 to 1e-6 first; then, from a tenth of the best to ten times it, the better end stays and
        the worse one moves to the middle of the logarithms, and the last better end is the answer.

        Args:
            embeddings, labels: pictures that it was not fitted to, as in `accuracy`.
            rounds: of the second part.
            refit: fit once more with these pictures too, as CLIP's paper does before it tests.

        Returns:
            a new `LinearProbe`; this one stays as it is.

        Raises:
            ValueError: a probe that was opened from a file, which has not the pictures to fit anew.
        """
        others = rows_of(embeddings, dim=self.dim, unit=False)
        answers = labels_of(labels, len(others), len(self.classes))
        tried = {}

        def accuracy(log_c):
            if log_c not in tried:
                tried[log_c] = self._fitted_with(10.0**log_c)
            return tried[log_c].accuracy(others, answers)

        logs = [math.log10(c) for c in SWEEP]
        best = logs[int(np.argmax([accuracy(each) for each in logs]))]
        low, high = best - 1.0, best + 1.0
        for _ in range(rounds):
            if accuracy(low) < accuracy(high):
                best, low = high, 0.5 * (low + high)
            else:
                best, high = low, 0.5 * (low + high)
        if not refit:
            return tried[best]
        rows, own = self.examples
        both = np.concatenate([rows, others]), np.concatenate([own, answers])
        return type(self)(*both, self.classes, 10.0**best, self.max_iter)

    @classmethod
    def search_work(cls, rows, dim, classes) -> float:
        return float(STEPS_TO_FIT * rows * dim * classes)

    def _remade(self, **numbers):
        return self._fitted_with(numbers["C"]) if numbers else self

    def _fitted_with(self, c):
        if self.examples is None:
            raise ValueError(
                "this probe was opened from a file, which does not hold its pictures; make it of them anew."
            )
        return type(self)(*self.examples, self.classes, c, self.max_iter)


def _fitted(rows, labels, c, max_iter):
    """Weights `(classes, dim)` and biases `(classes,)`."""
    linear = require("sklearn.linear_model", "probes", "A linear probe")
    model = linear.LogisticRegression(solver="lbfgs", C=c, max_iter=max_iter)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        model.fit(rows.astype("float64"), labels)
    if any("converge" in str(each.message) for each in said):
        warnings.warn(
            f"the linear probe with C={c:g} has not converged in {max_iter} steps; raise max_iter.", stacklevel=4
        )
    weights, bias = model.coef_, model.intercept_
    if len(weights) == 1:  # of two classes it has the difference alone
        weights, bias = np.concatenate([-weights, weights]) / 2.0, np.concatenate([-bias, bias]) / 2.0
    return weights, bias
