"""Hard pairs made by mixing, for classes that are already told apart well."""

import keras
from keras import ops

from kzoo.layers.numerics import NEGATIVE, l2_normalize
from kzoo.losses.parts.mixing import random_permutation, random_share

LEAST_SHARE = 0.8  # of the other row in a hard negative


def mix_hard_pairs(
    features, labels_onehot, lam_pos=None, lam_neg=None, permutation=None, alpha=1.0, seed=None
) -> tuple:
    """Hard positives and hard negatives of each row, mixed from the rows of a batch, with mixed labels.

    The hard positive of row i mixes the row of its class that is least like it with the row of another class that is
    most like it, `lam_pos z_p + (1 - lam_pos) z_n`; the hard negative is
    `(1 - lam_neg) z_i + lam_neg z_permutation(i)`. Likeness is the cosine. A row that is alone in its class, or whose
    class is the only one, stands in for what is missing. The mixed rows go through the projection head and into
    `FocalSupCon(mask=...)`, where rows with exactly the same mixed label are positives.

    Args:
        features: float tensor `(batch, dim)`, before the projection head; gradients go through the mixture.
        labels_onehot: float tensor `(batch, classes)`.
        lam_pos: share, a number or `(batch,)`; drawn from Beta(alpha, alpha) for each row by default.
        lam_neg: share, a number or `(batch,)`; by default drawn alike, and at least 0.8.
        permutation: int tensor `(batch,)`; drawn by default.
        alpha: shape of the Beta distribution.
        seed: an int or a `keras.random.SeedGenerator`, for what is drawn.

    Returns:
        `(positives, positive_labels, negatives, negative_labels)`, float32, `(batch, dim)` and `(batch, classes)`.

    Example:
        >>> z, y = np.array([[1.0, 0.0], [0.0, 1.0]]), np.eye(2)
        >>> mix_hard_pairs(z, y, lam_pos=0.75, lam_neg=0.8, permutation=np.array([1, 0]))[1]
        [[0.75, 0.25], [0.25, 0.75]]

    Reference:
        Zhang et al., Core-tuning, 2021, arXiv 2102.06605.
    """
    z, y = ops.cast(features, "float32"), ops.cast(labels_onehot, "float32")
    batch = ops.shape(z)[0]
    if seed is None or isinstance(seed, int):
        seed = keras.random.SeedGenerator(seed)
    if lam_pos is None:
        lam_pos = random_share((batch,), alpha, seed)
    if lam_neg is None:
        lam_neg = ops.maximum(random_share((batch,), alpha, seed), LEAST_SHARE)
    if permutation is None:
        permutation = random_permutation(batch, seed)

    unit = l2_normalize(ops.stop_gradient(z))
    cosine, of_class = ops.matmul(unit, ops.transpose(unit)), ops.matmul(y, ops.transpose(y)) > 0.5
    itself = ops.arange(batch, dtype="int32")
    positive = ops.cast(ops.argmax(ops.where(of_class, -cosine, NEGATIVE), axis=1), "int32")
    negative = ops.cast(ops.argmax(ops.where(of_class, NEGATIVE, cosine), axis=1), "int32")
    negative = ops.where(ops.all(of_class, axis=1), itself, negative)

    def mixed(share, one, other):
        share = ops.reshape(ops.cast(share, "float32"), (-1, 1))
        return [share * ops.take(x, one, axis=0) + (1.0 - share) * ops.take(x, other, axis=0) for x in (z, y)]

    return (*mixed(lam_pos, positive, negative), *mixed(lam_neg, permutation, itself))
