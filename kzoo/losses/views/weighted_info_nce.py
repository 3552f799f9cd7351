"""InfoNCE with a weight for each negative."""

import keras
from keras import ops

from kzoo.layers.numerics import l2_normalize
from kzoo.losses.base import weighted_mean
from kzoo.losses.parts.anchors import mean_of_anchors
from kzoo.losses.parts.pairwise import PairwiseLoss, Tile, cross_entropies, same
from kzoo.losses.parts.temperature import check_temperature, resolve_scale
from kzoo.types import Tensor


@keras.saving.register_keras_serializable(package="kzoo")
class WeightedInfoNCE(PairwiseLoss):
    """Softmax over the batch in which each negative counts as much as it is given a weight.

    With unit rows and `s_ij = <a_i, b_j> / temperature`:
    `L = -(1/B) sum_i log( e^{s_ii} / sum_j w_ij e^{s_ij} )`, from `a` to `b` only.

    Args:
        temperature: a float or a `LearnableTemperature`; the default is our choice.
        positive_in_denominator: put `w_ii` to 1. False takes `w_ii` as it is given, 0 in the paper, where the positive
            is then not in its own denominator.
        block_size: rows compared at a time, exact and with less memory, or `"auto"`; None: all at once.
        inputs: names of the tensors to read; default `("view_1", "view_2")`.

    Inputs:
        a, b: float tensors `(batch, dim)`; row i of `a` belongs to row i of `b`. Any length, they are normalised.
        weights: float tensor `(batch, batch)`, `w_ij >= 0`; in the paper in how many of several k-means runs i and j
            fell into different clusters. They may be learned: the gradient reaches them.
        sample_weight: float tensor `(batch,)`; a row of weight 0 still serves as a negative.

    Feeding:
        `SelfSupervised(encoder)` and `kzoo.data.views(images, steps, matrices={"weights": Separations(runs)})`, with
        `runs` of `kzoo.data.clusterings`.

    Returns:
        float32 scalar, the mean over the rows with a denominator; 0 without any. May be negative if the positive
        is not in it.

    Raises:
        ValueError: bad temperature.

    Recommendations:
        Where the weights are only 0 or 1 by groups, `GroupInfoNCE`; where rows of one label are positives,
        `UnifiedContrastive` or `SupCon`.

    Example:
        >>> WeightedInfoNCE(temperature=1.0)(np.eye(4), np.eye(4), weights=1.0 - np.eye(4))
        0.0986

    Reference:
        Yu et al., MEOW, Heterogeneous Graph Contrastive Learning with Meta-path Contexts and Adaptively Weighted
        Negative Samples, 2022, arXiv 2212.13847. The network that learns the weights there is left to the model.
    """

    default_inputs = ("view_1", "view_2")
    optional_inputs = PairwiseLoss.optional_inputs | {"weights": "weights"}
    pair_inputs = ("weights",)
    required_inputs = ("weights",)
    shapes = PairwiseLoss.shapes | {"weights": "batch batch"}
    numbers = PairwiseLoss.numbers | {"weights": "weight"}

    def __init__(self, temperature=0.1, positive_in_denominator=False, block_size=None, inputs=None, **kwargs):
        super().__init__(block_size, inputs, **kwargs)
        self.temperature = check_temperature(temperature)
        self.positive_in_denominator = positive_in_denominator

    def call(self, a, b, weights, sample_weight=None) -> Tensor:
        def tile(i, j, rows, columns):
            z = ops.matmul(columns["scale"] * rows["a"], ops.transpose(columns["b"]))
            own, w = same(i, j), rows["weights"]
            w = ops.where(own > 0.0, 1.0, w) if self.positive_in_denominator else w
            return Tile(z, own, keep=w > 0.0, log_weight=ops.log(ops.where(w > 0.0, w, 1.0)))

        rows = {"a": l2_normalize(a), "weights": ops.cast(weights, "float32")}
        columns = {"b": l2_normalize(b), "scale": resolve_scale(self.temperature)}
        per_row, _ = cross_entropies(tile, rows, columns, "a_to_b", self.block_size)
        if self.positive_in_denominator:
            return weighted_mean(per_row, sample_weight)
        has_denominator = ops.any(rows["weights"] > 0.0, axis=1)
        return mean_of_anchors(per_row, has_denominator, sample_weight)
