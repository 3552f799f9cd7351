"""Multiple negatives ranking, the usual loss of sentence embeddings."""

import keras

from kzoo.losses.base import weighted_mean
from kzoo.losses.parts.candidates import own_among
from kzoo.losses.parts.pairwise import PairwiseLoss, mean_of_directions
from kzoo.types import Tensor


@keras.saving.register_keras_serializable(package="kzoo")
class MultipleNegativesRanking(PairwiseLoss):
    """Each anchor must rank its own partner above the partners and the mined negatives of all others.

    With the candidates `C = [b; c; ...]` below each other and `z_ij = scale * cos(a_i, C_j)`:
    `L = (1/B) sum_i [ LSE_j z_ij - z_ii ]`.

    Args:
        scale: multiplies the cosines; the inverse of a temperature. `SimCSE` takes one that is learned.
        symmetric: average with the other direction, in which `b_i` chooses among the rows of `a`.
        block_size: rows compared at a time, exact and with less memory, or `"auto"`; None: all at once.
        inputs: names of the tensors to read; default `("image_embeddings", "text_embeddings")`, and after them
            those of negatives, if any.

    Inputs:
        a, b: float tensors `(batch, dim)`; row i of `a` belongs to row i of `b`. They are normalised.
        c, ...: float tensors `(rows, dim)`, negatives of every anchor.
        sample_weight: float tensor `(batch,)`; a row of weight 0 still serves as a negative.

    Returns:
        float32 scalar. `ln(candidates)` when all embeddings are equal.

    Raises:
        ValueError: `scale` is not positive.

    Recommendations:
        `InfoNCE` is the symmetric form without mined negatives, with the model's own temperature. With graded
        similarities instead of pairs take `CoSENT`.

    Example:
        >>> MultipleNegativesRanking(scale=1.0)(np.eye(4), np.eye(4))
        0.7437

    Reference:
        Henderson et al., Efficient Natural Language Response Suggestion for Smart Reply, 2017, arXiv 1705.00652.
    """

    input_counts = (2, None)
    shapes = PairwiseLoss.shapes | {"candidates": ("batch dim", "_ dim")}

    def __init__(self, scale=20.0, symmetric=False, block_size=None, inputs=None, **kwargs):
        super().__init__(block_size, inputs, **kwargs)
        self.scale, self.symmetric = float(scale), symmetric

    def pairs(self, batch_size) -> tuple:
        return batch_size, batch_size * (len(self.input_names) - 1)

    def call(self, a, *candidates, sample_weight=None) -> Tensor:
        direction = "both" if self.symmetric else "a_to_b"
        per_row = own_among(a, candidates, self.scale, direction, self.block_size)
        return weighted_mean(mean_of_directions(*per_row), sample_weight)
