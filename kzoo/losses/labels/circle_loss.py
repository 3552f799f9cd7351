"""Circle loss."""

import keras
from keras import ops

from kzoo.layers.numerics import l2_normalize
from kzoo.losses.base import Loss
from kzoo.losses.parts.anchors import masked_log_sum, mean_of_anchors, positives_and_negatives
from kzoo.losses.parts.pairwise import PairwiseLoss, by_blocks
from kzoo.types import Tensor


@keras.saving.register_keras_serializable(package="kzoo")
class CircleLoss(PairwiseLoss):
    """Pulls positives and pushes negatives, each pair as hard as it is far from where it should be.

    With cosines `s_p` of an anchor's positives and `s_n` of its negatives:
    `L = softplus( LSE_p(-gamma [1 + m - s_p]_+ (s_p - (1 - m))) + LSE_n(gamma [s_n + m]_+ (s_n - m)) )`, averaged over
    the anchors that have both. No gradient goes through the weights `[.]_+`.

    Args:
        m: relaxation; the goals are `1 - m` for positives and `m` for negatives.
        gamma: scale of the logits.
        block_size: rows compared at a time, exact and with less memory, or `"auto"`; None: all at once.
        inputs: names of the tensors to read; default `("view_1",)`.

    Inputs:
        a: float tensor `(batch, dim)`; it is normalised.
        labels: int tensor `(batch,)`.
        sample_weight: float tensor `(batch,)`, weighs the anchors.

    Feeding:
        `SelfSupervised(encoder)`, whose projection is compared, and `kzoo.data.views({"images": images, "labels":
        labels}, steps, views=1)`; of two views the second is left alone. In a `DualEncoder` name what it reads,
        `inputs=("image_embeddings",)`, and give the column: `kzoo.data.pairs(source, preprocessor,
        columns=("labels",))`.

    Returns:
        float32 scalar; 0 when no anchor has both a positive and a negative.

    Recommendations:
        `SupCon` has one number to tune instead of two and works at any batch size; at batches with few samples per
        class, `Triplet` is the simpler choice.

    Example:
        >>> CircleLoss()(np.eye(3), labels=np.array([0, 0, 1]))
        54.4

    Reference:
        Sun et al., Circle Loss, 2020, arXiv 2002.10857.
    """

    default_inputs = ("view_1",)
    optional_inputs = Loss.optional_inputs | {"labels": "labels"}
    required_inputs = ("labels",)
    shapes = PairwiseLoss.shapes | {"labels": "batch"}
    numbers = PairwiseLoss.numbers | {"labels": "id"}

    def __init__(self, m=0.4, gamma=80.0, block_size=None, inputs=None, **kwargs):
        super().__init__(block_size, inputs, **kwargs)
        self.m, self.gamma = m, gamma

    def call(self, a, labels, sample_weight=None) -> Tensor:
        m, gamma = self.m, self.gamma

        def anchors(i, real, rows, columns):
            positive, negative = positives_and_negatives(i, rows["labels"], columns["labels"])
            s = ops.matmul(rows["z"], ops.transpose(columns["z"]))
            alpha_p, alpha_n = ops.stop_gradient(ops.relu(1.0 + m - s)), ops.stop_gradient(ops.relu(s + m))
            log_p = masked_log_sum(-gamma * alpha_p * (s - (1.0 - m)), positive)
            log_n = masked_log_sum(gamma * alpha_n * (s - m), negative)
            defined = ops.logical_and(ops.any(positive, axis=1), ops.any(negative, axis=1))
            value = ops.softplus(ops.where(defined, log_p + log_n, 0.0))
            return {"value": value, "defined": ops.cast(defined, "float32")}, {}

        tensors = {"z": l2_normalize(a), "labels": labels}
        of_rows, _ = by_blocks(anchors, tensors, tensors, self.block_size)
        return mean_of_anchors(of_rows["value"], of_rows["defined"], sample_weight)
