"""InfoNCE among the samples of one cluster."""

import keras

from kzoo.losses.base import weighted_mean
from kzoo.losses.parts.pairwise import PairwiseLoss, Tile, cross_entropies, mean_of_directions, same
from kzoo.losses.parts.products import unit_rows
from kzoo.losses.parts.temperature import check_temperature, resolve_scale
from kzoo.types import Tensor


@keras.saving.register_keras_serializable(package="kzoo")
class GroupInfoNCE(PairwiseLoss):
    """Softmax over the rows of the anchor's own group: it is told apart only from what resembles it.

    With unit rows, `z_ij = <a_i, b_j> / temperature` and `g_i` the group of row i, both directions averaged of
    `L = (1/B) sum_i [ LSE_{j: g_j = g_i} z_ij - z_ii ]`.

    Args:
        temperature: a float or a `LearnableTemperature`.
        block_size: rows compared at a time, exact and with less memory, or `"auto"`; None: all at once.
        inputs: names of the tensors to read; default `("image_embeddings", "text_embeddings")`.

    Inputs:
        a, b: float tensors `(batch, dim)`; row i of `a` belongs to row i of `b`. Any length, they are normalised.
        groups: int tensor `(batch,)`, such as clusters of an earlier stage.
        sample_weight: float tensor `(batch,)`; a row of weight 0 still serves as a negative.

    Feeding:
        `DualEncoder` and `kzoo.data.pairs(source, preprocessor, columns=("groups",))`, such as one run of
        `kzoo.data.clusterings`.

    Returns:
        float32 scalar. `InfoNCE` when all groups are equal, 0 when all differ.

    Raises:
        ValueError: bad temperature.

    Recommendations:
        The authors draw each batch from one cluster and take plain `InfoNCE`, which has more negatives; this loss does
        it on mixed batches. `InfoNCE(groups=)` splits a batch into runs of equal length.

    Example:
        >>> GroupInfoNCE(temperature=1.0)(np.eye(4), np.eye(4), groups=np.array([0, 0, 1, 1]))
        0.3133

    Reference:
        Zhang et al., Learning the Unlearned: Mitigating Feature Suppression in Contrastive Learning (MCL), 2024,
        arXiv 2402.11816. Inspired by it: there the batches are grouped, not the loss.
    """

    optional_inputs = PairwiseLoss.optional_inputs | {"groups": "groups"}
    required_inputs = ("groups",)
    shapes = PairwiseLoss.shapes | {"groups": "batch"}
    numbers = PairwiseLoss.numbers | {"groups": "id"}

    def __init__(self, temperature=0.1, block_size=None, inputs=None, **kwargs):
        super().__init__(block_size, inputs, **kwargs)
        self.temperature = check_temperature(temperature)

    def call(self, a, b, groups, sample_weight=None) -> Tensor:
        a, b = unit_rows(a, resolve_scale(self.temperature)), unit_rows(b)

        def tile(i, j, rows, columns):
            return Tile(keep=same(rows["group"], groups) > 0.0)

        rows = {"a": a, "group": groups}
        per_row = cross_entropies(tile, rows, {"b": b}, "both", self.block_size, own=True, product=("a", "b"))
        return weighted_mean(mean_of_directions(*per_row), sample_weight)
