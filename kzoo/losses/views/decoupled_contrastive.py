"""Decoupled contrastive learning: the positive leaves the denominator."""

import keras
from keras import ops

from kzoo.losses.base import weighted_mean
from kzoo.losses.parts.pairwise import PairwiseLoss, Tile, cross_entropies, mean_of_directions
from kzoo.losses.parts.products import unit_rows
from kzoo.losses.parts.temperature import check_temperature, resolve_scale
from kzoo.types import Tensor


@keras.saving.register_keras_serializable(package="kzoo")
class DecoupledContrastive(PairwiseLoss):
    """Pull the partner and push the others with forces that do not fade when the partner is already found.

    With unit rows and `s_ij = <a_i, b_j> / temperature`, `r_ij = <a_i, a_j> / temperature`, for anchors `a`:
    `L_i = -w_i s_ii + LSE({s_ij, j != i} U {r_ij, j != i})`; anchors `b` likewise, and the mean over both. `w_i` is 1
    (DCL), or `2 - B softmax_i(<a_i, b_i> / sigma)` (DCLW), a constant for the gradient.

    Args:
        temperature: a float or a `LearnableTemperature`.
        sigma: None for DCL; for DCLW how sharply partners that are still far apart are preferred, 0.5 in the paper.
        intra_view: whether the rows of the anchor's own view are negatives; False for pairs of two modalities.
        block_size: anchors compared at a time, exact and with less memory, or `"auto"`; None: all at once.
        inputs: names of the tensors to read; default `("view_1", "view_2")`.

    Inputs:
        a, b: float tensors `(batch, dim)`; row i of `a` belongs to row i of `b`. Any length, they are normalised.
        sample_weight: float tensor `(batch,)`; a row of weight 0 still serves as a negative.

    Returns:
        float32 scalar, which may be negative. For a batch of one, which has no negative, `-<a, b> / temperature`.

    Raises:
        ValueError: bad temperature, or `sigma` not positive.

    Recommendations:
        `NTXent` or `InfoNCE` where batches are large: there the positive hardly counts in the denominator.

    Example:
        >>> DecoupledContrastive(temperature=0.5)(np.eye(4), np.eye(4))
        -0.2082

    Reference:
        Yeh et al., Decoupled Contrastive Learning, 2021, arXiv 2110.06848.
    """

    default_inputs = ("view_1", "view_2")

    def __init__(self, temperature=0.1, sigma=None, intra_view=True, block_size=None, inputs=None, **kwargs):
        super().__init__(block_size, inputs, **kwargs)
        self.temperature = check_temperature(temperature)
        self.sigma, self.intra_view = sigma, intra_view

    def pairs(self, batch_size) -> tuple:
        return batch_size, batch_size * (2 if self.intra_view else 1)

    def negatives(self, batch_size) -> int:
        return self.pairs(batch_size)[1] // batch_size * (batch_size - 1)

    def call(self, a, b, sample_weight=None) -> Tensor:
        a, b, scale = unit_rows(a), unit_rows(b), resolve_scale(self.temperature)
        batch, cosine = ops.shape(a)[0], ops.sum(a * b, axis=-1)

        def tile(i, j, rows, columns):
            return Tile(keep=ops.not_equal(i[:, None], (j % batch)[None, :]))

        def compare(x, y, direction):
            sides, own = ({"x": scale * x}, {"y": y}), scale * cosine
            return cross_entropies(tile, *sides, direction, self.block_size, own, product=("x", "y"))

        if self.intra_view:
            of_a, _ = compare(a, ops.concatenate([b, a]), "a_to_b")
            of_b, _ = compare(b, ops.concatenate([a, b]), "a_to_b")
        else:
            of_a, of_b = compare(a, b, "both")
        per_row = mean_of_directions(of_a, of_b)
        if self.sigma is not None:
            force = ops.stop_gradient(cosine) / self.sigma
            w = 2.0 - ops.cast(batch, "float32") * ops.exp(force - ops.logsumexp(force))
            per_row = per_row + (1.0 - w) * scale * cosine
        return weighted_mean(per_row, sample_weight)
