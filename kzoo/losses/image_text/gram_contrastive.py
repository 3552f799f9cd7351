"""The loss of GRAM: modalities are close where the volume between them is small."""

import keras
from keras import ops

from kzoo.layers.numerics import l2_normalize
from kzoo.losses.base import weighted_mean
from kzoo.losses.parts.anchors import root
from kzoo.losses.parts.pairwise import PairwiseLoss, Tile, cross_entropies, mean_of_directions, same
from kzoo.losses.parts.temperature import check_temperature, resolve_scale
from kzoo.losses.parts.views import unit_views
from kzoo.types import Tensor


@keras.saving.register_keras_serializable(package="kzoo")
class GramContrastive(PairwiseLoss):
    """Softmax over minus the volume that an anchor and its partners of all other modalities span together.

    With unit rows, `V_ij = sqrt |det Gram(anchor_i, m2_j, ..., mk_j)|` is the volume of the parallelotope on
    them, 0 when they lie in a smaller space and 1 when all are orthogonal. `L` is the mean of the cross-entropies of
    `-V / temperature` over rows and over columns, against `T = (1 - e) I + e / B`. The volume is taken as
    `|x_1| |x_2| ... |x_k|` of the parts that each vector adds to those before, which needs no determinant and keeps
    its digits where vectors are nearly parallel.

    Args:
        temperature: a float, a `LearnableTemperature`, or None: the similarity head of the model that the
            loss is attached to, 0.07 when called alone.
        label_smoothing: `e` above, in [0, 1).
        eps: squared volumes below it have no gradient, which would be infinite at 0.
        block_size: anchors compared at a time, exact and with less memory, or `"auto"`; None: all at once.
        inputs: names of the tensors to read, two or more, the anchor first; default
            `("text_embeddings", "image_embeddings")`.

    Inputs:
        anchor, *others: float tensors `(batch, dim)`, row i of each belongs together. They are normalised.
        sample_weight: float tensor `(batch,)`; a row of weight 0 still serves as a negative.
        scale: scalar, the model's own `1 / temperature`; read only when `temperature` is None.

    Returns:
        float32 scalar. Turning any vector to its opposite changes nothing, and neither does the order of the others.

    Raises:
        ValueError: fewer than two modalities, shapes that differ, bad `label_smoothing`.

    Recommendations:
        Add `InfoNCE` on the pairs where opposite vectors must not count as the same: the volume does not tell.
        `Symile` where the modalities complement each other instead of agreeing.

    Example:
        >>> GramContrastive(label_smoothing=0.0)(np.eye(4), np.eye(4), np.eye(4)[[1, 2, 3, 0]])
        0.6931

    Reference:
        Cicchetti et al., Gramian Multimodal Representation Learning and Alignment, 2024, arXiv 2412.11959.
    """

    default_inputs = ("text_embeddings", "image_embeddings")
    optional_inputs = PairwiseLoss.optional_inputs | {"scale": "logit_scale"}
    input_counts = (2, None)
    shapes = PairwiseLoss.shapes | {"modalities": "batch dim"}

    def __init__(self, temperature=None, label_smoothing=0.1, eps=1e-12, block_size=None, inputs=None, **kwargs):
        super().__init__(block_size, inputs, **kwargs)
        self.temperature = check_temperature(temperature)
        self.label_smoothing, self.eps = label_smoothing, eps

    def call(self, *modalities, sample_weight=None, scale=None) -> Tensor:
        anchor, *others = unit_views(self, modalities)
        e = self.label_smoothing
        axes, squared_volume = _orthogonal(others)

        def tile(i, j, rows, columns):
            along = ops.einsum("id,jqd->ijq", rows["anchor"], columns["axes"])  # (R, B, k - 1)
            apart = ops.sum(ops.square(rows["anchor"]), axis=-1)[:, None] - ops.sum(ops.square(along), axis=-1)
            volume = root(ops.abs(columns["squared_volume"] * apart), self.eps)
            own = same(i, j)
            target = (1.0 - e) * own + e / ops.cast(ops.shape(own)[1], "float32") if e else own
            return Tile(-columns["scale"] * volume, target)

        columns = {
            "axes": axes,
            "squared_volume": squared_volume,
            "scale": resolve_scale(self.temperature, scale),
        }
        per_row = cross_entropies(tile, {"anchor": anchor}, columns, "both", self.block_size)
        return weighted_mean(mean_of_directions(*per_row), sample_weight)


def _orthogonal(vectors):
    """Axes of the space that k vectors span, `(batch, k, dim)`, and their squared volume, `(batch,)`."""
    axes, squared_volume = [], 1.0
    for vector in vectors:
        for axis in axes:
            vector = vector - ops.sum(vector * axis, axis=-1, keepdims=True) * axis
        squared_volume = squared_volume * ops.sum(ops.square(vector), axis=-1)
        axes.append(l2_normalize(vector))
    return ops.stack(axes, axis=1), squared_volume
