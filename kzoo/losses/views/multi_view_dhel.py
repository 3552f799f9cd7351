"""DHEL of many views: alignment across views, uniformity within each."""

import math

import keras
from keras import ops

from kzoo.layers.numerics import NEGATIVE
from kzoo.losses.parts.anchors import masked_log_sum
from kzoo.losses.parts.views import log_sum_of_partners
from kzoo.losses.views.multi_view_info_nce import MultiViewInfoNCE


@keras.saving.register_keras_serializable(package="kzoo")
class MultiViewDHEL(MultiViewInfoNCE):
    """Views of one thing attract each other, and each view spreads out among its own kind only.

    With unit rows and `z = <., .> / temperature`:
    `L = (1/B) sum_i [ sum_l LSE_{j != i} z(v_l,i , v_l,j) - LSE_{l < m} z(v_l,i , v_m,i) ]`. No view is ever
    compared with another thing's other view, so that what brings views together is decoupled from what spreads them.

    Args:
        temperature: a float or a `LearnableTemperature`.
        block_size: things compared at a time, exact and with less memory, or `"auto"`; None: all at once.
        inputs: names of the tensors to read, two or more; default `("view_1", "view_2")`.

    Inputs:
        *views: float tensors `(batch, dim)`, row i of each shows thing i. They are normalised.
        sample_weight: float tensor `(batch,)`; a row of weight 0 still serves as a negative.

    Returns:
        float32 scalar, the same for any order of the views. It may be negative; of a batch of one only the attraction
        is left.

    Raises:
        ValueError: fewer than two views, shapes that differ, bad temperature.

    Recommendations:
        Several augmentations, or several modalities, of the same thing. Its value grows with the number of views:
        weigh it when it is added to another loss.

    Example:
        >>> MultiViewDHEL()(np.eye(4), np.eye(4))
        -2.8028

    Reference:
        Koromilas et al., A Principled Framework for Multi-View Contrastive Learning, 2025, arXiv 2507.06979.
    """

    def pairs(self, batch_size) -> tuple:
        return batch_size, batch_size * len(self.input_names)

    def negatives(self, batch_size) -> int:
        return batch_size - 1

    def of_things(self, i, real, rows, columns) -> tuple:
        z = columns["scale"] * ops.einsum("ild,jld->ilj", rows["views"], columns["views"])
        other = ops.not_equal(i[:, None], ops.arange(ops.shape(z)[2], dtype="int32")[None, :])
        log_sums = masked_log_sum(z, other[:, None, :])  # (R, views)
        spread = ops.sum(ops.where(log_sums > 0.5 * NEGATIVE, log_sums, 0.0), axis=1)
        # each pair stands twice in the sum of partners
        return {"loss": spread - log_sum_of_partners(rows["views"], columns["scale"]) + math.log(2.0)}, {}
