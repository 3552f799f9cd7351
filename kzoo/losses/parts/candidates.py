"""What losses of sentence pairs share: the cosine of each pair, and the choice of one's own among candidates."""

from keras import ops

from kzoo.layers.numerics import l2_normalize
from kzoo.losses.parts.pairwise import Tile, cross_entropies, same
from kzoo.types import Tensor


def paired_cosines(a, b) -> Tensor:
    """`cos(a_i, b_i)` of the rows of two tensors `(batch, dim)`: float32 `(batch,)`."""
    return ops.sum(l2_normalize(a) * l2_normalize(b), axis=-1)


def own_among(a, candidates, scale, direction="a_to_b", block_size=None, own_hard=0.0, keep=None) -> tuple:
    """The cross-entropy of each row of `a`, that is to choose candidate i among all of them by cosine.

    Args:
        a: tensor `(batch, dim)`.
        candidates: list of tensors `(rows, dim)`, of which the first belongs to `a` row by row.
        scale: `1 / temperature`, multiplies the cosines.
        direction: of `cross_entropies`; rows of the first candidates choose among the rows of `a` alone.
        block_size: rows compared at a time, or None.
        own_hard: added to the logit of row i and row i of the second candidates.
        keep: bool `(candidates,)`, False where there is none; default all are there.

    Returns:
        `(of_rows, of_first)`: float32 `(batch,)` each, None where the direction was not asked for.

    Example:
        >>> own_among(np.eye(2), [np.eye(2)], 1.0)[0]
        [0.3133, 0.3133]
    """
    batch = ops.shape(a)[0]
    a, candidates = scale * l2_normalize(a), [l2_normalize(each) for each in candidates]

    def tile(i, j, rows, columns):
        z = ops.matmul(rows["a"], ops.transpose(columns["candidates"]))
        if own_hard:
            z = z + own_hard * same(i + batch, j)
        return Tile(z, keep=columns["keep"][None, :] if "keep" in columns else None)

    columns = {"candidates": ops.concatenate(candidates)} | ({} if keep is None else {"keep": keep})
    own = ops.sum(a * candidates[0], axis=-1)
    return cross_entropies(tile, {"a": a}, columns, direction, block_size, own)
