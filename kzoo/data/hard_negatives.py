"""Hard negatives of a batch: which wrong partner a row is shown, drawn by how alike the embeddings are."""

import numpy as np

from kzoo.arguments import POSITIVE, takes
from kzoo.evaluation.directions import with_direction
from kzoo.evaluation.zero_shot import softmax
from kzoo.types import Array


@takes(temperature=POSITIVE)
def hard_negative_probabilities(a, b, ids=None, temperature=0.07) -> Array:
    """How likely each row of `b` is drawn as the wrong partner of each row of `a`.

    With unit rows: `P_ij` is proportional to `exp(<a_i, b_j> / temperature)`, and 0 where `ids_i = ids_j`.

    Args:
        a, b: float arrays `(batch, dim)`; row i of `a` belongs to row i of `b`. They are normalised.
        ids: int array `(batch,)`, equal where rows belong together; default all different.
        temperature: a positive number, that of the contrastive loss.

    Returns:
        float64 array `(batch, batch)`, rows add up to 1. For the other direction swap `a` and `b`.

    Raises:
        ValueError: shapes that do not go together, numbers that are not finite, `temperature` is not positive, a row to
            which all others belong.

    Example:
        >>> hard_negative_probabilities(np.eye(3), np.eye(3))[0]
        [0. , 0.5, 0.5]

    Reference:
        Li et al., Align before Fuse (ALBEF), 2021, arXiv 2107.07651. The authors add 1e-4 against rows of zeros; here
        the softmax is taken over the candidates alone, which cannot give any.
    """
    a, b = np.asarray(a, "float64"), np.asarray(b, "float64")
    ids = np.arange(len(a)) if ids is None else np.asarray(ids)
    if a.ndim != 2 or a.shape != b.shape or ids.shape != a.shape[:1]:
        raise ValueError(
            f"a {a.shape}, b {b.shape} and ids {ids.shape} do not go together; expected are (batch, dim) twice and "
            "(batch,)."
        )
    if not (np.isfinite(a).all() and np.isfinite(b).all()):
        raise ValueError("a or b has numbers that are not finite, which are near to nothing; embed again in float32.")
    own = ids[:, None] == ids[None, :]
    alone = np.flatnonzero(own.all(axis=1))
    if len(alone):
        raise ValueError(
            f"row {alone[0]} has no wrong partner: all {len(a)} rows have its id; put pairs of at least two ids into a "
            "batch."
        )
    return softmax(np.where(own, -np.inf, with_direction(a)[0] @ with_direction(b)[0].T / temperature))


def draw_hard_negatives(probabilities, seed=None) -> Array:
    """One index of a wrong partner for each row of `hard_negative_probabilities`.

    Args:
        probabilities: float array `(batch, candidates)`; an entry of 0 is never drawn.
        seed: an int, a `numpy.random.Generator`, or None for another draw at each call.

    Returns:
        int64 array `(batch,)`.

    Raises:
        ValueError: a negative entry, one that is not finite, or a row of zeros.

    Example:
        >>> texts = draw_hard_negatives(hard_negative_probabilities(a, b))
        >>> wrong = {"images": images, "texts": [captions[index] for index in texts]}
    """
    p = np.asarray(probabilities, "float64")
    if p.ndim != 2 or not np.isfinite(p).all() or (p < 0).any() or not p.any(axis=1).all():
        raise ValueError(
            f"probabilities {p.shape} must be finite numbers (batch, candidates), none below 0 and one above 0 in "
            "each row."
        )
    with np.errstate(divide="ignore"):
        log_p = np.log(p)  # -inf where there is no candidate: no noise lifts it
    return np.argmax(log_p + np.random.default_rng(seed).gumbel(size=p.shape), axis=1)
