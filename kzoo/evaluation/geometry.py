"""The geometry of embeddings on the sphere: how near pairs are, how even all, how loose classes. In numpy."""

import numpy as np

from kzoo.arguments import POSITIVE, takes
from kzoo.evaluation.directions import directions

ROWS = 1024  # compared with all others at a time


@takes(alpha=POSITIVE)
def alignment(a, b, alpha=2.0) -> float:
    """Mean distance of pairs of unit rows, to the power `alpha`: `mean_i |a_i - b_i|^alpha`.

    Args:
        a, b: arrays `(n, dim)`; row i of `a` belongs to row i of `b`. They are normalised.
        alpha: the power.

    Returns:
        float; in [0, 4] at alpha 2, 0 where every pair is one point. Lower is better.

    Raises:
        ValueError: the arrays are not pairs of rows; a row that is zero or not finite.

    Example:
        >>> alignment([[1.0, 0.0]], [[0.0, 2.0]])
        2.0

    Reference:
        Wang and Isola, Understanding Contrastive Representation Learning through Alignment and Uniformity on the
        Hypersphere, 2020, arXiv 2005.10242.
    """
    a, b = _unit(a), _unit(b)
    if a.shape != b.shape:
        raise ValueError(f"arrays of shapes {a.shape} and {b.shape} are not pairs of rows; give one row for each.")
    return float(np.mean(np.sum(np.square(a - b), axis=1) ** (alpha / 2.0)))


@takes(t=POSITIVE)
def uniformity(a, t=2.0) -> float:
    """How evenly rows fill the sphere: `log mean_{i < j} exp(-t |a_i - a_j|^2)`.

    Args:
        a: array `(n, dim)` of two rows or more; they are normalised.
        t: how local the measure is.

    Returns:
        float in [-4 t, 0], 0 where all rows are one point. Lower is better.

    Raises:
        ValueError: fewer than two rows, a row that is zero or not finite.

    Example:
        >>> uniformity([[1.0, 0.0], [0.0, 1.0]])
        -4.0

    Reference:
        Wang and Isola, 2020, arXiv 2005.10242.
    """
    a = _unit(a)
    if len(a) < 2:
        raise ValueError(f"uniformity compares rows with each other, but got {len(a)}; give at least 2.")
    largest, total = -np.inf, 0.0  # of the exponents, and the sum relative to it: a large t does not underflow
    for start in range(0, len(a), ROWS):
        rows = a[start : start + ROWS]
        exponents = -2.0 * t * (1.0 - rows @ a.T)
        exponents[np.arange(len(rows)), start + np.arange(len(rows))] = -np.inf
        highest = max(largest, exponents.max())
        total = total * np.exp(largest - highest) + np.exp(exponents - highest).sum()
        largest = highest
    return float(largest + np.log(total / (len(a) * (len(a) - 1))))


def tolerance(a, labels) -> float:
    """How near rows of one label are, near-duplicates of meaning that a contrastive loss takes for negatives.

    Args:
        a: array `(n, dim)`; rows are normalised.
        labels: ints `(n,)`.

    Returns:
        float, the mean cosine over all pairs of different rows with one label. Higher is more tolerant.

    Raises:
        ValueError: another number of labels than rows, no label that two rows share, a row that is zero or not finite.

    Example:
        >>> tolerance([[1.0, 0.0], [0.6, 0.8], [0.0, 1.0]], [7, 7, 3])
        0.6

    Reference:
        Wang and Liu, Understanding the Behaviour of Contrastive Loss, 2020, arXiv 2012.09740.
    """
    a, labels = _unit(a), np.asarray(labels)
    if labels.shape != a.shape[:1]:
        raise ValueError(f"labels of shape {labels.shape} do not fit embeddings of shape {a.shape}; give one per row.")
    _, group, sizes = np.unique(labels, return_inverse=True, return_counts=True)
    pairs = np.sum(sizes * (sizes - 1))
    if not pairs:
        raise ValueError(f"no label is shared by two of the {len(a)} rows; tolerance has no pair to compare.")
    sums = np.zeros((len(sizes), a.shape[1]))
    np.add.at(sums, group, a)  # the cosines of a group add up to the squared length of its sum
    return float((np.sum(np.square(sums)) - np.sum(np.square(a))) / pairs)


def _unit(x):
    x = np.asarray(x, "float64")
    if x.ndim != 2 or not len(x):
        raise ValueError(f"embeddings have shape {x.shape}, but (n, dim) with n of at least 1 is expected.")
    return directions(x)
