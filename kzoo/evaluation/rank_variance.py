"""Whether the captions of a picture in several languages are ranked alike, in numpy."""

import numpy as np

from kzoo.arguments import one_of, takes


@takes(kind=one_of("variance", "std"))
def mean_rank_variance(ranks, kind="variance") -> float:
    """How far the ranks that one instance gets through its K languages lie apart, averaged over instances.

    0 when each instance has one rank in all languages, wherever that rank is: recall says how good it is.

    Args:
        ranks: array `(n, K)`: of instance i, the rank at which its text in language k was found, or at which that text
            finds it.
        kind: `"variance"`, the population variance over the languages, from memory of the paper, or `"std"`, its root,
            as the authors' script computes it.

    Returns:
        float.

    Raises:
        ValueError: unknown kind, or ranks that are not finite numbers `(n, K)`.

    Example:
        >>> mean_rank_variance([[1, 3], [2, 2]])
        0.5

    Reference:
        Nie et al., Improving the Consistency in Cross-Lingual Cross-Modal Retrieval with 1-to-K Contrastive Learning,
        2024, arXiv 2406.18254.
    """
    ranks = np.asarray(ranks, "float64")
    if ranks.ndim != 2 or not ranks.size or not np.isfinite(ranks).all():
        raise ValueError(f"ranks of shape {ranks.shape} are not finite numbers (n, K), one row per instance.")
    return float(np.mean(ranks.var(axis=1) if kind == "variance" else ranks.std(axis=1)))
