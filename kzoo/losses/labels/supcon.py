"""SupCon, supervised contrastive learning."""

import keras
from keras import ops

from kzoo.layers.numerics import NEGATIVE, l2_normalize, log_sum_exp
from kzoo.losses.parts.anchors import mean_of_anchors
from kzoo.losses.parts.pairwise import PairwiseLoss, by_blocks, same
from kzoo.losses.parts.temperature import check_temperature, resolve_scale
from kzoo.types import Tensor


@keras.saving.register_keras_serializable(package="kzoo")
class SupCon(PairwiseLoss):
    """Each row must find all rows of its class, among the whole batch, in one view or in two.

    With unit rows `Z`, of one view or of two below each other, `z_ij = <Z_i, Z_j> / temperature` and
    `log p_ij = z_ij - LSE_(k != i) z_ik`: `L_i = - sum_p M_ip log p_ip / sum_p M_ip` over `p != i`. `M` is 1 within a
    class; without labels only the two views of a row belong together. The mean is over the anchors that have a
    positive; one without is nobody's anchor but still a negative.

    Args:
        temperature: a float or a `LearnableTemperature`.
        base_temperature: when set, the loss is multiplied by `temperature / base_temperature`, which keeps gradients
            of one size over temperatures.
        block_size: rows compared at a time, exact and with less memory, or `"auto"`; None: all at once.
        inputs: names of the one or two views to read; default `("view_1", "view_2")`.

    Inputs:
        a, b: float tensors `(batch, dim)`, the views; they are normalised. `b` may be left out.
        labels: int tensor `(batch,)`, the classes.
        mask: tensor `(batch, batch)` of weights of at least 0 instead of labels, bool or soft: how much j is a
            positive of i. Its name in a batch is `positives`.
        sample_weight: float tensor `(batch,)`, weighs anchors.

    Feeding:
        `SelfSupervised(encoder)` and `kzoo.data.views({"images": images, "labels": labels}, steps)`; a mask is
        `matrices={"positives": Lookup(matrix)}`. In a `DualEncoder`: `SupCon(inputs=("image_embeddings",))`.

    Returns:
        float32 scalar, 0 when no anchor has a positive. With two views and no labels it is `NTXent`.

    Raises:
        ValueError: labels and mask together; one view with neither; a mask that is not `(batch, batch)`;
            bad temperature.

    Recommendations:
        Batches should hold several rows of a class. With texts instead of classes take `InfoNCE`; where easy
        positives dominate, `FocalSupCon`.

    Example:
        >>> SupCon(temperature=1.0)(np.eye(4), labels=np.array([0, 0, 1, 1]))
        1.0986

    Reference:
        Khosla et al., Supervised Contrastive Learning, 2020, arXiv 2004.11362. Soft masks: He et al., SPACE-2, 2022,
        arXiv 2209.06638.
    """

    default_inputs = ("view_1", "view_2")
    input_counts = (1, 2)
    optional_inputs = PairwiseLoss.optional_inputs | {"labels": "labels", "mask": "positives"}
    pair_inputs = ("mask",)
    shapes = PairwiseLoss.shapes | {"labels": "batch", "mask": "batch batch"}
    numbers = PairwiseLoss.numbers | {"labels": "id"}

    def __init__(self, temperature=0.1, base_temperature=None, block_size=None, inputs=None, **kwargs):
        super().__init__(block_size, inputs, **kwargs)
        self.temperature, self.base_temperature = check_temperature(temperature), base_temperature

    def pairs(self, batch_size) -> tuple | None:
        return (len(self.input_names) * batch_size,) * 2

    def attraction(self, log_p) -> Tensor:
        """What a positive of probability `p_ij` adds to the loss of its anchor, before its sign is turned."""
        return log_p

    def call(self, a, b=None, labels=None, mask=None, sample_weight=None) -> Tensor:
        views, name = 1 if b is None else 2, type(self).__name__
        if labels is not None and mask is not None:
            raise ValueError(f"{name} received labels and mask; give one of them, or name other tensors for it.")
        if views == 1 and labels is None and mask is None:
            raise ValueError(f"{name} received one view without labels or mask, so no row has a positive; give one.")
        batch = ops.shape(a)[0]
        z = l2_normalize(a) if b is None else ops.concatenate([l2_normalize(a), l2_normalize(b)], axis=0)
        rows, columns = {"z": z}, {"z": z, "scale": resolve_scale(self.temperature)}
        if mask is None:
            labels = ops.arange(batch, dtype="int32") if labels is None else labels
            rows["labels"] = columns["labels"] = ops.concatenate([labels] * views)
        else:
            rows["mask"] = ops.concatenate([ops.cast(mask, "float32")] * views, axis=0)

        def attracted(i, real, rows, columns):
            z = ops.matmul(columns["scale"] * rows["z"], ops.transpose(columns["z"]))
            other = ops.not_equal(i[:, None], ops.arange(ops.shape(z)[1], dtype="int32")[None, :])
            z = ops.where(other, z, NEGATIVE)
            log_p = ops.where(other, z - log_sum_exp(z, axis=1, keepdims=True), 0.0)
            if mask is None:
                weight = same(rows["labels"], columns["labels"])
            else:
                weight = ops.concatenate([rows["mask"]] * views, axis=1)
            weight = ops.where(other, weight, 0.0)
            total = ops.sum(weight, axis=1)
            has_any = total > 0.0
            value = -ops.sum(weight * self.attraction(log_p), axis=1) / ops.where(has_any, total, 1.0)
            return {"value": value, "is_anchor": ops.cast(has_any, "float32")}, {}

        of_rows, _ = by_blocks(attracted, rows, columns, self.block_size)
        of_views = None if sample_weight is None else ops.concatenate([sample_weight] * views)
        value = mean_of_anchors(of_rows["value"], of_rows["is_anchor"], of_views)
        if self.base_temperature is not None:
            value = value / (columns["scale"] * self.base_temperature)
        return value
