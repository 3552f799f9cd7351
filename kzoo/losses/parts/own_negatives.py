"""A choice among candidates that belong to one row alone: its partner and its own hard negatives."""

from keras import ops

from kzoo.layers.numerics import NEGATIVE, l2_normalize
from kzoo.types import Tensor


def choice_among_own(anchor, partner, negatives, scale, mask=None) -> Tensor:
    """Cross-entropy of finding the partner among it and the row's own negatives.

    `log(1 + sum_n exp(scale (<x_i, n_in> - <x_i, y_i>)))`, where all vectors are made unit length.

    Args:
        anchor, partner: float tensors `(batch, dim)`.
        negatives: float tensor `(batch, count, dim)`.
        scale: number or scalar tensor.
        mask: bool tensor `(batch, count)`, True where a negative is there; default all.

    Returns:
        float32 `(batch,)`; 0 for a row without negatives.

    Example:
        >>> choice_among_own(np.eye(2), np.eye(2), np.eye(2)[:, None], scale=10.0)
        [0.6931, 0.6931]
    """
    x, y, n = (l2_normalize(each) for each in (anchor, partner, negatives))
    margins = scale * (ops.sum(x[:, None] * n, axis=-1) - ops.sum(x * y, axis=-1)[:, None])  # (batch, count)
    if mask is not None:
        margins = ops.where(ops.cast(mask, "bool"), margins, NEGATIVE)
    return ops.logsumexp(ops.pad(margins, [[0, 0], [1, 0]]), axis=1)  # the partner's margin to itself is 0
