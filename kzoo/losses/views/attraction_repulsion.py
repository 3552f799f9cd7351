"""Contrastive attraction and contrastive repulsion (CACR)."""

import keras
import numpy as np
from keras import ops

from kzoo.layers.numerics import NEGATIVE
from kzoo.losses.base import weighted_mean
from kzoo.losses.parts.pairwise import PairwiseLoss, by_blocks, same
from kzoo.losses.parts.views import stacked_views
from kzoo.types import Tensor


@keras.saving.register_keras_serializable(package="kzoo")
class AttractionRepulsion(PairwiseLoss):
    """Pulls the farthest views of a thing hardest and pushes the nearest other things hardest.

    With `d` the squared distance of unit rows, `2 - 2 <x, y>`, views `x`, `y` and things `i`, `j`:
    `L = alpha mean_{x,i} sum_{y != x} p+ d(x_i, y_i) - beta mean_{x < y, i} sum_{j != i} p- d(x_i, y_j)`, where
    `p+ ~ exp(tau_pos d)` over the other views and `p- ~ exp(-tau_neg d)` over the other things.

    Args:
        alpha: weight of the attraction.
        beta: weight of the repulsion.
        tau_pos: how much harder farther positives pull; 0: all the same.
        tau_neg: how much harder nearer negatives push; 0: all the same.
        detach_weights: take `p+` and `p-` as constants.
        block_size: things compared at a time, exact and with less memory, or `"auto"`; None: all at once.
        inputs: names of the tensors to read, two or more; default `("view_1", "view_2")`.

    Inputs:
        *views: float tensors `(batch, dim)`, row i of each shows thing i. They are normalised. Of each two the
            first is the anchor of the repulsion, as in the authors' code, so the order of the views matters a little.
        sample_weight: float tensor `(batch,)`; a row of weight 0 still serves as a negative.

    Returns:
        float32 scalar in [-4 beta, 4 alpha]; a batch of one has no repulsion.

    Raises:
        ValueError: fewer than two views, shapes that differ.

    Recommendations:
        Noisy or skewed data, where one softmax lets a few wrong negatives rule. With a temperature to tune against
        published recipes, take `NTXent`.

    Example:
        >>> AttractionRepulsion()(np.eye(4), np.eye(4))
        -2.0

    Reference:
        Zheng et al., Contrastive Attraction and Contrastive Repulsion for Representation Learning, 2021,
        arXiv 2105.03746.
    """

    default_inputs = ("view_1", "view_2")
    input_counts = (2, None)
    shapes = PairwiseLoss.shapes | {"views": "batch dim"}

    def __init__(
        self,
        alpha=1.0,
        beta=1.0,
        tau_pos=1.0,
        tau_neg=1.0,
        detach_weights=False,
        block_size=None,
        inputs=None,
        **kwargs,
    ):
        super().__init__(block_size, inputs, **kwargs)
        self.alpha, self.beta, self.tau_pos, self.tau_neg = alpha, beta, tau_pos, tau_neg
        self.detach_weights = detach_weights

    def pairs(self, batch_size) -> tuple:
        count = len(self.input_names)
        return batch_size, batch_size * count * (count - 1) // 2

    def negatives(self, batch_size) -> int:
        return batch_size - 1

    def call(self, *views, sample_weight=None) -> Tensor:
        views = stacked_views(self, views)
        count = views.shape[1]
        first, second = np.triu_indices(count, k=1)  # of each two views the anchor and the other

        def terms(i, real, rows, columns):
            here = rows["views"]
            among_views = 2.0 - 2.0 * ops.einsum("ixd,iyd->ixy", here, here)
            pull = self._mean(among_views, self.tau_pos, ~np.eye(count, dtype="bool"))  # (R, views)
            others = ops.take(columns["views"], second, axis=1)
            among_things = 2.0 - 2.0 * ops.einsum("ipd,jpd->ipj", ops.take(here, first, axis=1), others)
            other_things = same(i, ops.arange(ops.shape(others)[0], dtype="int32"))[:, None, :] == 0.0
            push = self._mean(among_things, -self.tau_neg, other_things)  # (R, pairs of views)
            return {"loss": self.alpha * ops.mean(pull, axis=1) - self.beta * ops.mean(push, axis=1)}, {}

        of_rows, _ = by_blocks(terms, {"views": views}, {"views": views}, self.block_size)
        return weighted_mean(of_rows["loss"], sample_weight)

    def _mean(self, distance, tau, keep):
        """Mean of the last axis where `keep`, weighted by `exp(tau * distance)`; 0 where it keeps nothing."""
        logits = ops.where(keep, tau * distance, NEGATIVE)
        weight = ops.exp(logits - ops.logsumexp(logits, axis=-1, keepdims=True))
        weight = ops.stop_gradient(weight) if self.detach_weights else weight
        return ops.sum(ops.where(keep, weight * distance, 0.0), axis=-1)
