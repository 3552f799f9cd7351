"""Clusters of rows by their features, for samplers, weights of pairs and prototypes."""

import numpy as np

from kzoo.arguments import AMOUNT, COUNT, sequence, takes
from kzoo.extras import require
from kzoo.types import Array


@takes(
    clusters=(COUNT | sequence(COUNT, "several")).said("a whole number of at least 1, or one for each run"),
    runs=COUNT,
    seed=AMOUNT,
)
def clusterings(features, clusters, runs=1, seed=0) -> Array:
    """The cluster of each row in several runs of k-means, which differ by where they start. Needs scikit-learn.

    Args:
        features: float array `(rows, dim)`.
        clusters: number of clusters, or one for each run.
        runs: how often rows are clustered anew; left out where `clusters` is a list.
        seed: of the starts.

    Returns:
        int32 array `(runs, rows)`.

    Raises:
        ImportError: scikit-learn is not installed.
        ValueError: features of another shape, more clusters than rows.

    Example:
        >>> weights = kzoo.data.Separations(kzoo.data.clusterings(features, 16, runs=5))
        >>> kzoo.data.views(images, steps, 64, matrices={"weights": weights})

    Reference:
        Yu et al., MEOW, 2022, arXiv 2212.13847.
    """
    cluster = require("sklearn.cluster", "clusters", "Clustering rows")
    features = np.asarray(features, "float32")
    numbers = list(clusters) if isinstance(clusters, (list, tuple)) else [clusters] * runs
    if features.ndim != 2 or not numbers or not all(0 < number <= len(features) for number in numbers):
        raise ValueError(
            f"features {features.shape} cannot be put into {clusters} clusters in {runs} runs; give (rows, dim), and "
            "no more clusters than rows."
        )
    random = np.random.default_rng(seed)
    starts = [int(each) for each in random.integers(2**31, size=len(numbers))]
    found = [
        cluster.KMeans(number, n_init=1, random_state=start).fit_predict(features)
        for number, start in zip(numbers, starts)
    ]
    return np.stack(found).astype("int32")
