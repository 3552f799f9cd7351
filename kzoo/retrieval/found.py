"""What a search finds, and how much of what there is to find. In numpy."""

from typing import NamedTuple

import numpy as np

from kzoo.types import Array


class Found(NamedTuple):
    """What a search has found, the best first.

    Attributes:
        scores: float32 array `(queries, k)`, cosines or what stands for them.
        places: int64 array `(queries, k)`, rows of what was searched.
    """

    scores: Array
    places: Array


def best(scores, k, places=None) -> Found:
    """The k largest of each row, of equal ones the first.

    Args:
        scores: float array `(queries, n)`.
        k: at most `n`.
        places: int array `(n,)` or `(queries, n)`, what the columns stand for; default their numbers.
    """
    count = scores.shape[1]
    if places is None:
        places = np.arange(count)
    places = np.broadcast_to(places, scores.shape)
    if k < count // 4:  # a sort of few in place of one of all, with all that are as good as the last
        least = np.partition(scores, count - k, axis=1)[:, count - k, None]
        kept = int((scores >= least).sum(axis=1).max())
        if kept < count // 2:
            nearest = np.sort(np.argpartition(-scores, kept - 1, axis=1)[:, :kept], axis=1)
            scores, places = (np.take_along_axis(each, nearest, axis=1) for each in (scores, places))
    order = np.lexsort((places, -scores), axis=1)[:, :k]
    found = [np.take_along_axis(each, order, axis=1) for each in (scores, places)]
    return Found(found[0].astype("float32"), found[1].astype("int64"))


def recall(found, exact) -> float:
    """Share of what an exact search finds that another finds too: recall@k of an index.

    Args:
        found, exact: `Found` of the same queries, or int arrays `(queries, k)` of places.

    Returns:
        float in [0, 1].

    Raises:
        ValueError: another number of queries.

    Example:
        >>> recall(BinaryIndex(rows).search(queries, 10), ExactIndex(rows).search(queries, 10))
        0.87
    """
    own, truth = (np.asarray(each.places if isinstance(each, Found) else each) for each in (found, exact))
    if own.ndim != 2 or truth.ndim != 2 or len(own) != len(truth) or not truth.size:
        raise ValueError(f"places have shapes {own.shape} and {truth.shape}; give (queries, k) of the same queries.")
    return float(np.mean([np.isin(each, mine).mean() for each, mine in zip(truth, own)]))
