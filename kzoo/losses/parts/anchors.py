"""What losses over anchors, positives and negatives share: masks, log-sums, neighbours, distances, means."""

from keras import ops

from kzoo.layers.numerics import NEGATIVE, NORM_FLOOR, log_sum_exp
from kzoo.losses.base import weighted_mean
from kzoo.types import Tensor


def positives_and_negatives(i, labels, column_labels) -> tuple:
    """Of rows `i` of a batch that is compared with itself: same label and another row; another label.

    Args:
        i: int tensor `(R,)`, the rows' indices in the batch.
        labels: tensor `(R,)`.
        column_labels: tensor `(B,)`, of the whole batch.

    Returns:
        Two bool tensors `(R, B)`.

    Example:
        >>> positives_and_negatives(np.arange(2), np.array([4, 5]), np.array([4, 5]))[1]
        [[False, True], [True, False]]
    """
    equal = ops.equal(labels[:, None], column_labels[None, :])
    j = ops.arange(ops.shape(column_labels)[0], dtype="int32")
    return ops.logical_and(equal, ops.not_equal(i[:, None], j[None, :])), ops.logical_not(equal)


def masked_log_sum(z, mask, axis=-1) -> Tensor:
    """`log sum exp` over the entries that are True, about `NEGATIVE` where none is."""
    return log_sum_exp(ops.where(mask, z, NEGATIVE), axis)


def mean_of_anchors(values, defined, sample_weight=None) -> Tensor:
    """Weighted mean over the anchors that have a value, 0 when none has one.

    Args:
        values: float tensor `(batch,)`, finite also where it is not defined.
        defined: tensor `(batch,)`, bool or the weight that an anchor has by itself.
        sample_weight: float tensor `(batch,)`, or None.
    """
    weight = ops.cast(defined, "float32")
    return weighted_mean(values, weight if sample_weight is None else weight * ops.cast(sample_weight, "float32"))


def nearest(scores, k) -> Tensor:
    """The `k` largest scores of each row, largest first, all of them where there are fewer; and their columns.

    Args:
        scores: float tensor `(R, C)`; `NEGATIVE` for columns that are no candidates.
        k: how many.

    Returns:
        `(values, columns)`, both `(R, min(k, C))`; gradients go through the values, none through the choice.
    """
    count = ops.shape(scores)[1]
    return ops.top_k(scores, min(k, count) if isinstance(count, int) else ops.minimum(k, count))


def squared_distances(a, b) -> Tensor:
    """`||a_i - b_j||^2`, float32 `(R, C)`, from inner products: no array of `(R, C, dim)`."""
    lengths = ops.sum(ops.square(a), axis=1)[:, None] + ops.sum(ops.square(b), axis=1)[None, :]
    return ops.relu(lengths - 2.0 * ops.matmul(a, ops.transpose(b)))


def root(x, least=0.0) -> Tensor:
    """`sqrt(max(x, least))` whose gradient is 0 up to `least`, where at 0 that of `sqrt` is infinite."""
    above = x > least
    return ops.where(above, ops.sqrt(ops.where(above, x, 1.0)), least**0.5)


def mixed_cosine(share, length_u, length_v, inner, with_u, with_v) -> Tensor:
    """`<z, n(share u + (1 - share) v)>`, without an array of mixtures.

    Args:
        share: of `u`, in [0, 1].
        length_u, length_v: `||u||^2` and `||v||^2`.
        inner: `<u, v>`.
        with_u, with_v: `<z, u>` and `<z, v>`.
    """
    rest = 1.0 - share
    squared = share**2 * length_u + rest**2 * length_v + 2.0 * share * rest * inner
    return (share * with_u + rest * with_v) * ops.rsqrt(ops.maximum(squared, NORM_FLOOR))
