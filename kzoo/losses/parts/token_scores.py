"""Bags of vectors, such as the tokens of a picture and of a text: each vector is scored by its best match."""

from keras import ops

from kzoo.layers.numerics import NEGATIVE, l2_normalize
from kzoo.losses.parts.pairwise import Tile, cross_entropies, same
from kzoo.types import Tensor


def bags(a, b, a_mask=None, b_mask=None) -> list:
    """Two batches of bags as the functions below read them.

    Args:
        a, b: float tensors `(batch, size, dim)` of one `dim`.
        a_mask, b_mask: bool tensors `(batch, size)`, True where a vector is real; default all are.

    Returns:
        Two pairs `(vectors, real)`: float32 `(batch, size, dim)` of unit length, float32 `(batch, size)` of 0 and 1.
    """
    return [
        (l2_normalize(x), ops.ones(ops.shape(x)[:2]) if mask is None else ops.cast(mask, "float32"))
        for x, mask in ((a, a_mask), (b, b_mask))
    ]


def mean_of_best(x, x_real, y, y_real) -> Tensor:
    """`mean_{p real in x_i} max_{q real in y_j} <x_ip, y_jq>` of all pairs of bags.

    Args:
        x, x_real: `(R, P, dim)` and `(R, P)`, as `bags` gives them.
        y, y_real: `(C, Q, dim)` and `(C, Q)`.

    Returns:
        float32 `(R, C)`; 0 where a bag holds nothing real.
    """
    matches = ops.einsum("ipd,jqd->ijpq", x, y)
    best = ops.max(ops.where(y_real[None, :, None, :] > 0.0, matches, NEGATIVE), axis=-1)  # (R, C, P)
    best = ops.where(_filled(y_real)[None, :, None], best, 0.0)
    return ops.einsum("ijp,ip->ij", best, x_real) / ops.maximum(ops.sum(x_real, axis=1), 1.0)[:, None]


def bag_cross_entropies(x, y, scale, direction="a_to_b", block_size=None) -> tuple:
    """`cross_entropies` of `scale * mean_of_best` of two batches of bags, whose i-th belong together.

    An empty bag is nobody's candidate, and its pair has loss 0.
    """

    def tile(i, j, rows, columns):
        z = columns["scale"] * mean_of_best(rows["x"], rows["x_real"], columns["y"], columns["y_real"])
        both = ops.logical_and(_filled(rows["x_real"])[:, None], _filled(columns["y_real"])[None, :])
        return Tile(z, same(i, j) * ops.cast(both, "float32"), keep=both)

    rows, columns = dict(zip(("x", "x_real"), x)), dict(zip(("y", "y_real"), y))
    matches = (x[0].shape[1] or 1) * (y[0].shape[1] or 1)  # of two bags
    return cross_entropies(tile, rows, columns | {"scale": scale}, direction, block_size, each=matches)


def _filled(real):
    return ops.max(real, axis=1) > 0.0
