"""The triplet loss over all triplets of a batch."""

import keras
from keras import ops

from kzoo.layers.numerics import NEGATIVE, l2_normalize
from kzoo.losses.base import Loss
from kzoo.losses.parts.anchors import mean_of_anchors, positives_and_negatives, root, squared_distances
from kzoo.losses.parts.pairwise import PairwiseLoss, by_blocks
from kzoo.types import Tensor


@keras.saving.register_keras_serializable(package="kzoo")
class Triplet(PairwiseLoss):
    """Each positive must be nearer to its anchor than each negative, by a margin.

    With unit rows and the Euclidean distance `d`, over every anchor a, positive p (same label) and negative n (another
    label): `[d(a, p) - d(a, n) + margin]_+`, averaged over the triplets where that is not 0.

    No triplet is held: sorting an anchor's distances tells how many triplets each of them is violated in. Time grows
    with `batch^2 log batch`, memory with `batch^2`, and with `block_size * batch` in blocks.

    Args:
        margin: how much nearer, in [0, 2] for unit rows.
        block_size: anchors at a time, exact and with less memory, or `"auto"`; None: all at once.
        inputs: names of the tensors to read; default `("view_1",)`.

    Inputs:
        a: float tensor `(batch, dim)`; it is normalised.
        labels: int tensor `(batch,)`.
        sample_weight: float tensor `(batch,)`, weighs the triplets of an anchor.

    Feeding:
        `SelfSupervised(encoder)`, whose projection is compared, and `kzoo.data.views({"images": images, "labels":
        labels}, steps, views=1)`; of two views the second is left alone. In a `DualEncoder` name what it reads,
        `inputs=("image_embeddings",)`, and give the column: `kzoo.data.pairs(source, preprocessor,
        columns=("labels",))`.

    Returns:
        float32 scalar; `margin` when all embeddings are equal, 0 where no triplet is violated or there is none.

    Recommendations:
        The plain baseline. `CircleLoss` weighs pairs by how far they are from their goal; `SupCon` weighs all of an
        anchor's at once.

    Example:
        >>> Triplet(margin=0.2)(np.eye(3), labels=np.array([0, 0, 1]))
        0.2

    Reference:
        Schroff et al., FaceNet, 2015, arXiv 1503.03832; the mean over violated triplets as in Hermans et al., In
        Defense of the Triplet Loss, 2017, arXiv 1703.07737.
    """

    default_inputs = ("view_1",)
    optional_inputs = Loss.optional_inputs | {"labels": "labels"}
    required_inputs = ("labels",)
    shapes = PairwiseLoss.shapes | {"labels": "batch"}
    numbers = PairwiseLoss.numbers | {"labels": "id"}

    def __init__(self, margin=0.2, block_size=None, inputs=None, **kwargs):
        super().__init__(block_size, inputs, **kwargs)
        self.margin = margin

    def pairs(self, batch_size) -> tuple:
        return batch_size, 2 * batch_size

    def negatives(self, batch_size) -> int:
        return batch_size - 1

    def call(self, a, labels, sample_weight=None) -> Tensor:
        z = l2_normalize(a)

        def triplets(i, real, rows, columns):
            positive, negative = positives_and_negatives(i, rows["labels"], columns["labels"])
            d = root(squared_distances(rows["z"], columns["z"]))
            d = d - ops.stop_gradient(ops.mean(d, axis=1, keepdims=True))  # smaller numbers, smaller rounding errors
            reach = ops.concatenate([d + self.margin, d], axis=1)  # (rows, 2 batch): a negative below it is too near
            kinds = ops.cast(ops.stack([_beside(positive, True), _beside(negative, False)]), "float32")
            order = ops.argsort(ops.where(ops.sum(kinds, axis=0) > 0.0, reach, -NEGATIVE), axis=1)
            reach = ops.take_along_axis(reach, order, axis=1)
            positive, negative = (ops.take_along_axis(kinds[place], order, axis=1) for place in (0, 1))
            nearer = positive * ops.cumsum(negative, axis=1)  # negatives before a positive in the order
            behind = negative * (ops.sum(positive, axis=1, keepdims=True) - ops.cumsum(positive, axis=1))
            return {"sum": ops.sum((nearer - behind) * reach, axis=1), "count": ops.sum(nearer, axis=1)}, {}

        tensors = {"z": z, "labels": labels}
        of_rows, _ = by_blocks(triplets, tensors, tensors, self.block_size)
        mean = of_rows["sum"] / ops.maximum(of_rows["count"], 1.0)
        return mean_of_anchors(mean, of_rows["count"], sample_weight)


def _beside(mask, first):
    """The mask in one half of twice as many columns, False in the other."""
    none = ops.zeros_like(mask)
    return ops.concatenate([mask, none] if first else [none, mask], axis=1)
