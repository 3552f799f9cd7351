"""CWCL: how alike two samples are decides how much one may be taken for the other."""

import keras
from keras import ops

from kzoo.arguments import one_of
from kzoo.layers.numerics import l2_normalize
from kzoo.losses.base import weighted_mean
from kzoo.losses.parts.pairwise import DIRECTIONS, PairwiseLoss, Tile, cross_entropies, mean_of_directions, same
from kzoo.losses.parts.temperature import check_temperature, resolve_scale
from kzoo.types import Tensor


@keras.saving.register_keras_serializable(package="kzoo")
class ContinuouslyWeightedContrastive(PairwiseLoss):
    """Softmax over the batch whose targets spread over all rows, by their likeness in a pre-trained modality.

    With unit rows `a` of the pre-trained modality, `w_ij = (1 + <a_i, a_j>) / 2` without gradient,
    `T_ij = w_ij / sum_k w_ik` and `z_ij = <a_i, b_j> / temperature`, the anchors `b` give
    `(1/B) sum_j sum_i T_ji (LSE_k z_kj - z_ij)`; the other direction is that of `InfoNCE`, and the loss their mean.
    From memory of the paper; the mean instead of the sum is our choice.

    Args:
        temperature: a float, a `LearnableTemperature`, or None: the similarity head of the model that the loss is
            attached to, 0.07 when called alone.
        weighted: which anchors get the spread targets: `"b_to_a"`, as in the paper, `"a_to_b"` or `"both"`.
        block_size: rows compared at a time, exact and with less memory, or `"auto"`; None: all at once.
        inputs: names of the tensors to read; default `("image_embeddings", "text_embeddings")`.

    Inputs:
        a, b: float tensors `(batch, dim)`, `a` of the pre-trained modality. Any length, they are normalised.
        reference: float tensor `(batch, width)`, embeddings that say how alike samples are; default `a`.
        weights: float tensor `(batch, batch)`, `w_ij >= 0` in place of those of a reference; a row of zeros counts
            as 0.
        sample_weight: float tensor `(batch,)`; a row of weight 0 still serves the others.
        scale: scalar, the model's own `1 / temperature`; read only when `temperature` is None.

    Feeding:
        Any pairs; `weights` are `kzoo.data.pairs(..., matrices={"weights": Likeness(features)})`, and a reference is a
        column of that name, or a teacher's: `reference="teacher_text_embeddings"`.

    Returns:
        float32 scalar. `InfoNCE` for `weights` that are the identity.

    Raises:
        ValueError: unknown `weighted`, bad temperature.

    Recommendations:
        Where the reference is not much better than the towers, `InfoNCE`; for targets of a teacher
        `LogitDistillation`.

    Example:
        >>> ContinuouslyWeightedContrastive(temperature=1.0)(np.eye(4), np.eye(4))
        1.0437

    Reference:
        Srinivasa et al., CWCL: Cross-Modal Transfer with Continuously Weighted Contrastive Loss, 2023,
        arXiv 2309.14580.
    """

    optional_inputs = PairwiseLoss.optional_inputs | {
        "reference": "reference",
        "weights": "weights",
        "scale": "logit_scale",
    }
    pair_inputs = ("weights",)
    shapes = PairwiseLoss.shapes | {"reference": "batch width", "weights": "batch batch"}
    numbers = PairwiseLoss.numbers | {"reference": "number", "weights": "number"}
    arguments = {"weighted": one_of(*DIRECTIONS)}

    def __init__(self, temperature=None, weighted="b_to_a", block_size=None, inputs=None, **kwargs):
        super().__init__(block_size, inputs, **kwargs)
        self.temperature, self.weighted = check_temperature(temperature), weighted

    def call(self, a, b, reference=None, weights=None, sample_weight=None, scale=None) -> Tensor:
        r = ops.stop_gradient(l2_normalize(a if reference is None else reference))
        if weights is None:  # the sum of a row's weights, without the matrix
            mass = 0.5 * (ops.cast(ops.shape(r)[0], "float32") + ops.matmul(r, ops.sum(r, axis=0)))
            given = {}
        else:
            weights = ops.stop_gradient(ops.cast(weights, "float32"))
            mass = ops.maximum(ops.sum(weights, axis=1), 1e-12)
            given = {"w": weights, "w_of_columns": ops.transpose(weights)}

        def tile(i, j, rows, columns):
            z = ops.matmul(columns["scale"] * rows["a"], ops.transpose(columns["b"]))
            w = w_of_columns = 0.5 * (1.0 + ops.matmul(rows["r"], ops.transpose(columns["r"])))
            if given:
                w, w_of_columns = rows["w"], rows["w_of_columns"]
            target = same(i, j) if self.weighted == "b_to_a" else w * rows["per_mass"][:, None]
            column_target = same(i, j) if self.weighted == "a_to_b" else w_of_columns * columns["per_mass"][None, :]
            return Tile(z, target, column_target)

        rows = {"a": l2_normalize(a), "r": r, "per_mass": 1.0 / mass} | given
        columns = {"b": l2_normalize(b), "r": r, "per_mass": 1.0 / mass}
        columns["scale"] = resolve_scale(self.temperature, scale)
        per_row = cross_entropies(tile, rows, columns, "both", self.block_size)
        return weighted_mean(mean_of_directions(*per_row), sample_weight)
