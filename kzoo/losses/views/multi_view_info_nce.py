"""InfoNCE of many views: one softmax for each thing instead of one for each pair of views."""

import keras
from keras import ops

from kzoo.layers.numerics import NEGATIVE
from kzoo.losses.base import weighted_mean
from kzoo.losses.parts.pairwise import PairwiseLoss, by_blocks, same
from kzoo.losses.parts.temperature import check_temperature, resolve_scale
from kzoo.losses.parts.views import log_sum_of_partners, stacked_views
from kzoo.types import Tensor


@keras.saving.register_keras_serializable(package="kzoo")
class MultiViewInfoNCE(PairwiseLoss):
    """One softmax for each thing, over all similarities of all its views at once.

    With unit rows and `z = <., .> / temperature` of `M` views:
    `L = -(1/B) sum_i [ LSE_{l != m} z(v_l,i , v_m,i) - LSE_{l, (m,j) != (l,i)} z(v_l,i , v_m,j) ]`: the
    positives, pairs of views of row i, against all that any view of row i is compared with, its positives included.

    Args:
        temperature: a float or a `LearnableTemperature`.
        block_size: things compared at a time, exact and with less memory, or `"auto"`; None: all at once.
        inputs: names of the tensors to read, two or more; default `("view_1", "view_2")`.

    Inputs:
        *views: float tensors `(batch, dim)`, row i of each shows thing i. They are normalised.
        sample_weight: float tensor `(batch,)`; a row of weight 0 still serves as a negative.

    Returns:
        float32 scalar, the same for any order of the views; 0 for a batch of one.

    Raises:
        ValueError: fewer than two views, shapes that differ, bad temperature.

    Recommendations:
        `MultiViewDHEL` lets the views of one thing come together without holding them apart by the same sum, and
        is better from three views on; for two views `NTXent` is the usual choice.

    Example:
        >>> MultiViewInfoNCE()(np.eye(4), np.eye(4))
        0.0396

    Reference:
        Koromilas et al., A Principled Framework for Multi-View Contrastive Learning, 2025, arXiv 2507.06979.
    """

    default_inputs = ("view_1", "view_2")
    input_counts = (2, None)
    shapes = PairwiseLoss.shapes | {"views": "batch dim"}

    def __init__(self, temperature=0.2, block_size=None, inputs=None, **kwargs):
        super().__init__(block_size, inputs, **kwargs)
        self.temperature = check_temperature(temperature)

    def pairs(self, batch_size) -> tuple:
        return batch_size, batch_size * len(self.input_names) ** 2

    def negatives(self, batch_size) -> int:
        return (batch_size - 1) * len(self.input_names)

    def call(self, *views, sample_weight=None) -> Tensor:
        views = stacked_views(self, views)
        columns = {"views": views, "scale": resolve_scale(self.temperature)}
        return weighted_mean(
            by_blocks(self.of_things, {"views": views}, columns, self.block_size)[0]["loss"], sample_weight
        )

    def of_things(self, i, real, rows, columns) -> tuple:
        """The loss of each thing of a block, with views `(R, views, dim)` and `(batch, views, dim)`."""
        z = columns["scale"] * ops.einsum("ild,jmd->iljm", rows["views"], columns["views"])  # (R, views, B, views)
        j = ops.arange(ops.shape(z)[2], dtype="int32")
        itself = same(i, j)[:, None, :, None] * ops.eye(z.shape[1])[:, None, :]
        log_sum = ops.logsumexp(ops.where(itself > 0.0, NEGATIVE, z), axis=[1, 2, 3])
        return {"loss": log_sum - log_sum_of_partners(rows["views"], columns["scale"])}, {}
