"""ICNN: a score of how a batch's neighbourhoods agree with its labels."""

import keras
from keras import ops

from kzoo.layers.numerics import NEGATIVE
from kzoo.losses.labels.proto_triplet import distances
from kzoo.losses.parts.anchors import nearest
from kzoo.losses.parts.pairwise import PairwiseLoss, by_blocks
from kzoo.types import Tensor

EPSILON = 1e-7


@keras.saving.register_keras_serializable(package="kzoo")
class ICNN(PairwiseLoss):
    """Scores the neighbourhood of each sample: its own class near, others far, and how many are of its class.

    Of the k nearest neighbours of each sample, by Euclidean distance without normalisation:
    `SC = 1 - mean` of the distances to those of its class, scaled by the nearest of another class to [0, 1];
    `DC = mean` of the distances to those of other classes, divided by the largest of all; `Gamma`, the share of
    neighbours of the same class, which has no gradient. `L = -log( ((SC + DC) / 2 + Gamma) / 2 )`.

    Args:
        k: neighbours; where the batch has `k + 2` rows or fewer, two less than it has and `Gamma = 1`.
        block_size: rows compared at a time, exact and with less memory, or `"auto"`; None: all at once.
        inputs: names of the tensors to read; default `("view_1",)`.

    Inputs:
        x: float tensor `(batch, dim)`.
        labels: int tensor `(batch,)`.

    Feeding:
        `SelfSupervised(encoder)`, whose projection is compared, and `kzoo.data.views({"images": images, "labels":
        labels}, steps, views=1)`; of two views the second is left alone. Batches of episodes come from
        `sampler=Episodes(labels)`.

    Returns:
        float32 scalar. The means are over the whole batch before the logarithm, so the loss takes no
        `sample_weight`.

    Raises:
        ValueError: a batch of fewer than 3 rows.

    Recommendations:
        For few-shot episodes, next to a cross-entropy; `LeaveOneOutKNN` is the smoother loss on neighbours.

    Example:
        >>> ICNN(k=1)(np.array([[0.0], [1.0], [10.0], [11.0]]), labels=np.array([0, 0, 1, 1]))
        0.0267

    Reference:
        Mendez-Ruiz et al., SuSana Distancia, 2023, arXiv 2305.09062.
    """

    default_inputs = ("view_1",)
    optional_inputs = {"labels": "labels"}
    required_inputs = ("labels",)
    shapes = PairwiseLoss.shapes | {"x": "batch dim", "labels": "batch"}
    numbers = PairwiseLoss.numbers | {"labels": "id"}

    def __init__(self, k=4, block_size=None, inputs=None, **kwargs):
        super().__init__(block_size, inputs, **kwargs)
        self.k = k

    def call(self, x, labels) -> Tensor:
        if x.shape[0] is not None and x.shape[0] < 3:
            raise ValueError(f"ICNN compares neighbours, but the batch has {x.shape[0]} rows; give at least 3.")
        batch = ops.shape(x)[0]
        k = min(self.k, batch - 2) if isinstance(batch, int) else ops.minimum(self.k, batch - 2)

        def neighbours(i, real, rows, columns):
            d = distances(rows["x"], columns["x"])
            j = ops.arange(ops.shape(d)[1], dtype="int32")
            closeness, where = nearest(ops.where(ops.equal(i[:, None], j[None, :]), NEGATIVE, -d), k + 1)
            same = ops.equal(ops.take(columns["labels"], where), rows["labels"][:, None])
            return {"d": -closeness, "same": ops.cast(same, "float32")}, {}

        tensors = {"x": ops.cast(x, "float32"), "labels": labels}
        of_rows, _ = by_blocks(neighbours, tensors, tensors, self.block_size)
        d, same = of_rows["d"], of_rows["same"] > 0.0  # (batch, k + 1)
        far = ops.min(ops.where(same, -NEGATIVE, d), axis=1, keepdims=True)
        alone = far > -0.5 * NEGATIVE  # no other class among the neighbours: all of them are as near as can be
        d, same = d[:, :k], same[:, :k]
        scaled = ops.where(alone, 0.0, d / (ops.where(alone, 1.0, far) + EPSILON))
        scaled = scaled / ops.maximum(ops.max(scaled, axis=1, keepdims=True), 1.0)
        other = ops.logical_not(same)
        largest = ops.max(ops.where(other, d, 0.0))

        sc = 1.0 - _mean_of_rows(scaled, same)
        dc = ops.abs(_mean_of_rows(d / (largest + EPSILON), other) - ops.cast(ops.all(same), "float32"))
        gamma = ops.where(self.k + 2 < batch, ops.mean(ops.cast(same, "float32")), 1.0)
        return -ops.log(ops.maximum(((sc + dc) / 2.0 + gamma) / 2.0, EPSILON))


def _mean_of_rows(values, mask):
    """Mean of each row over the mask, then of the rows that have one."""
    count = ops.sum(ops.cast(mask, "float32"), axis=1)
    mean = ops.sum(ops.where(mask, values, 0.0), axis=1) / (count + EPSILON)
    return ops.sum(mean) / (ops.sum(ops.cast(count > 0.0, "float32")) + EPSILON)
