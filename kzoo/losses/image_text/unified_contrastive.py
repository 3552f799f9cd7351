"""The contrastive loss of UniCL: pairs, labels and pairs with labels in one batch."""

import keras
from keras import ops

from kzoo.arguments import one_of
from kzoo.layers.numerics import l2_normalize
from kzoo.losses.base import weighted_mean
from kzoo.losses.parts.pairwise import DIRECTIONS, PairwiseLoss, Tile, cross_entropies, mean_of_directions, same
from kzoo.losses.parts.temperature import check_temperature, resolve_scale
from kzoo.types import Tensor


@keras.saving.register_keras_serializable(package="kzoo")
class UnifiedContrastive(PairwiseLoss):
    """Softmax over the batch in which all pairs of one label are right, not only a row's own partner.

    With unit rows, `z_ij = <a_i, b_j> / temperature` and `T_ij = [l_i = l_j] / |{k: l_i = l_k}|`:
    `L(a_to_b) = (1/B) sum_i sum_j T_ij (LSE_k z_ik - z_ij)`; `b_to_a` is the same on the columns, with targets that
    sum to 1 there, and `both` their mean.

    Args:
        temperature: a float, a `LearnableTemperature`, or None: the similarity head of the model that the loss is
            attached to, 0.07 when called alone.
        direction: `"both"`, `"a_to_b"` or `"b_to_a"`.
        block_size: rows compared at a time, exact and with less memory, or `"auto"`; None: all at once.
        inputs: names of the tensors to read; default `("image_embeddings", "text_embeddings")`.

    Inputs:
        a, b: float tensors `(batch, dim)`. Any length, they are normalised.
        labels: int tensor `(batch,)`; rows without a class get a number of their own.
        b_labels: int tensor `(batch,)`, the labels of `b` where they differ from those of `a`. A row whose label does
            not occur on the other side counts as 0.
        sample_weight: float tensor `(batch,)`; a row of weight 0 still serves as a positive or a negative.
        scale: scalar, the model's own `1 / temperature`; read only when `temperature` is None.

    Feeding:
        `DualEncoder` and `kzoo.data.pairs(source, preprocessor, columns=("labels",))`.

    Returns:
        float32 scalar. `InfoNCE` when all labels differ, `ln(batch)` at best when all are equal.

    Raises:
        ValueError: unknown direction, bad temperature.

    Recommendations:
        `InfoNCE` where no two rows share a label; `SupCon` to compare within one modality.

    Example:
        >>> UnifiedContrastive(temperature=1.0)(np.eye(4), np.eye(4), labels=np.array([0, 0, 1, 2]))
        0.9937

    Reference:
        Yang et al., UniCL, Unified Contrastive Learning in Image-Text-Label Space, 2022, arXiv 2204.03610 (the number
        is from memory). On the ids of pictures it serves ALBEF, 2021, arXiv 2107.07651.
    """

    optional_inputs = PairwiseLoss.optional_inputs | {
        "labels": "labels",
        "b_labels": "b_labels",
        "scale": "logit_scale",
    }
    required_inputs = ("labels",)
    shapes = PairwiseLoss.shapes | {"labels": "batch", "b_labels": "batch"}
    numbers = PairwiseLoss.numbers | {"labels": "id", "b_labels": "id"}
    arguments = {"direction": one_of(*DIRECTIONS)}

    def __init__(self, temperature=None, direction="both", block_size=None, inputs=None, **kwargs):
        super().__init__(block_size, inputs, **kwargs)
        self.temperature = check_temperature(temperature)
        self.direction = direction

    def call(self, a, b, labels, b_labels=None, sample_weight=None, scale=None) -> Tensor:
        b_labels = labels if b_labels is None else b_labels

        def tile(i, j, rows, columns):
            z = ops.matmul(columns["scale"] * rows["a"], ops.transpose(columns["b"]))
            match = same(rows["label"], b_labels)
            return Tile(z, match * rows["share"][:, None], match * columns["share"][None, :])

        rows = {"a": l2_normalize(a), "label": labels, "share": share_of_each(labels, b_labels)}
        columns = {"b": l2_normalize(b), "share": share_of_each(b_labels, labels)}
        columns["scale"] = resolve_scale(self.temperature, scale)
        per_row = cross_entropies(tile, rows, columns, self.direction, self.block_size)
        return weighted_mean(mean_of_directions(*per_row), sample_weight)


def share_of_each(labels, others) -> Tensor:
    """`1 / max(n, 1)` where a label stands n times in `others`: `(len(labels),)`, without a matrix of comparisons."""
    ordered = ops.sort(others)
    until, before = (ops.searchsorted(ordered, labels, side=side) for side in ("right", "left"))
    return 1.0 / ops.cast(ops.maximum(until - before, 1), "float32")
