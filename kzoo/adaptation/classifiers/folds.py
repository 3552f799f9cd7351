"""Numbers of a classifier by cross-validation on the pictures that it is made of, where there are no others."""

from collections.abc import Callable
from itertools import product

import numpy as np

from kzoo.adaptation.classifiers.classifier import EmbeddingClassifier
from kzoo.types import Array

FOLDS = 5
MOST_WORK = 3e10  # products of one set of numbers: a few seconds


def folds_of(labels, seed=0) -> Array:
    """The fold of each picture, int array `(n,)`: class by class, one after the other goes to the next fold.

    Args:
        labels: int array `(n,)`.
        seed: of the order within a class.
    """
    orders = []
    for label in np.unique(labels):
        own = np.flatnonzero(labels == label)
        orders.append(own[np.random.default_rng((seed, int(label))).permutation(len(own))])
    folds = np.zeros(len(labels), "int64")
    folds[np.concatenate(orders)] = np.arange(len(labels)) % FOLDS
    return folds


def cross_validated(make: Callable, tried: dict, rows, labels, seed=0) -> EmbeddingClassifier:
    """The classifier of all pictures with the numbers that find most of those that were left out of it.

    Each fifth of the pictures is told apart by what is made of the others. Where that cannot be, as of a class with one
    picture nothing would be left, or where it would take minutes, the numbers stay.

    Args:
        make: function of rows and labels to a classifier.
        tried: name of a number -> its values; all combinations are tried, of equal ones the first counts.
        rows: float array `(n, dim)`.
        labels: int array `(n,)`.
        seed: of the folds.

    Returns:
        the classifier.
    """
    found = make(rows, labels)
    folds = folds_of(labels, seed)
    kept = [np.bincount(labels[folds != fold], minlength=len(found.classes)) for fold in range(FOLDS)]
    if found.search_work(*np.shape(rows), len(found.classes)) > MOST_WORK:
        return found
    if not tried or min(each.min() for each in kept) < 1 or max(len(labels) - each.sum() for each in kept) < 1:
        return found
    grid = [dict(zip(tried, values)) for values in product(*tried.values())]
    right = np.zeros(len(grid), "int64")
    for fold in range(FOLDS):
        held = folds == fold
        try:
            part = make(rows[~held], labels[~held])
        except ValueError:  # of so few pictures there is no covariance
            return found
        answers = [part.with_numbers(**numbers).predict(rows[held]) for numbers in grid if held.any()]
        right += sum((np.array(answers) == labels[held]).T) if answers else 0
    return found.with_numbers(**grid[int(right.argmax())])
