"""The triplet loss between samples and the prototypes of an episode."""

import keras
from keras import ops

from kzoo.layers.numerics import NEGATIVE
from kzoo.losses.base import Loss
from kzoo.losses.parts.anchors import mean_of_anchors, squared_distances
from kzoo.losses.parts.pairwise import PairwiseLoss, by_blocks
from kzoo.types import Tensor


@keras.saving.register_keras_serializable(package="kzoo")
class ProtoTriplet(PairwiseLoss):
    """Each sample must be nearer to the prototype of its class than to the nearest other prototype, by a margin.

    `L = mean_i [ d(x_i, c_{y_i}) - min_{c != y_i} d(x_i, c) + margin ]_+`, `d(u, v) = sqrt(||u - v||^2 + 1e-6)`,
    with embeddings as they are, not normalised.

    Args:
        margin: `margin` above.
        block_size: samples at a time, exact and with less memory, or `"auto"`; None: all at once.
        inputs: names of the tensors to read; default `("view_1", "prototypes")`.

    Inputs:
        x: float tensor `(batch, dim)`.
        prototypes: float tensor `(classes, dim)`; row c belongs to class c.
        labels: int tensor `(batch,)`; a sample of no class of the prototypes does not count.
        sample_weight: float tensor `(batch,)`.

    Feeding:
        `constants={"prototypes": prototypes}`, `SelfSupervised(encoder)` and `kzoo.data.views({"images": images,
        "labels": labels}, steps, views=1)`.

    Returns:
        float32 scalar; 0 when there is only one prototype.

    Recommendations:
        For few-shot episodes, next to a cross-entropy and `ICNN`. Where classes are fixed, `SimplexClassifier` or
        `EquiangularBasisVectors`.

    Example:
        >>> ProtoTriplet(margin=0.5)(np.zeros((1, 2)), np.eye(2), labels=np.array([0]))
        0.5

    Reference:
        Mendez-Ruiz et al., SuSana Distancia, 2023, arXiv 2305.09062.
    """

    default_inputs = ("view_1", "prototypes")
    optional_inputs = Loss.optional_inputs | {"labels": "labels"}
    required_inputs = ("labels",)
    shapes = PairwiseLoss.shapes | {"x": "batch dim", "prototypes": "classes dim", "labels": "batch"}
    numbers = PairwiseLoss.numbers | {"labels": "id"}

    def __init__(self, margin=0.5, block_size=None, inputs=None, **kwargs):
        super().__init__(block_size, inputs, **kwargs)
        self.margin = margin

    def call(self, x, prototypes, labels, sample_weight=None) -> Tensor:
        def samples(i, real, rows, columns):
            d = distances(rows["x"], columns["prototypes"])
            j = ops.arange(ops.shape(d)[1], dtype="int32")
            own = ops.equal(rows["labels"][:, None], j[None, :])
            other = -ops.max(ops.where(own, NEGATIVE, -d), axis=1)
            defined = ops.logical_and(ops.any(own, axis=1), ops.any(ops.logical_not(own), axis=1))
            gap = ops.sum(ops.where(own, d, 0.0), axis=1) - other + self.margin
            value = ops.relu(ops.where(defined, gap, 0.0))
            return {"value": value, "defined": ops.cast(defined, "float32")}, {}

        rows = {"x": ops.cast(x, "float32"), "labels": ops.cast(labels, "int32")}
        of_rows, _ = by_blocks(samples, rows, {"prototypes": ops.cast(prototypes, "float32")}, self.block_size)
        return mean_of_anchors(of_rows["value"], of_rows["defined"], sample_weight)


def distances(a, b) -> Tensor:
    """`sqrt(||a_i - b_j||^2 + 1e-6)`, float32 `(R, C)`: its gradient is finite at 0."""
    return ops.sqrt(squared_distances(a, b) + 1e-6)
