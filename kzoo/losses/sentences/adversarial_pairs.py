"""Contrast with adversarial targets, the loss of CLAPS."""

import keras
from keras import ops

from kzoo.layers.numerics import l2_normalize
from kzoo.losses.base import weighted_mean
from kzoo.losses.parts.anchors import masked_log_sum
from kzoo.losses.parts.candidates import paired_cosines
from kzoo.losses.parts.pairwise import PairwiseLoss, by_blocks
from kzoo.losses.parts.temperature import check_temperature, resolve_scale
from kzoo.types import Tensor


@keras.saving.register_keras_serializable(package="kzoo")
class AdversarialPairs(PairwiseLoss):
    """A source must find its target, and a distant form of it, among other targets and an imposter next to its own.

    With `z(x, y) = cos(x, y) / temperature` and the negatives `N_i = LSE([z(s_i, t_j)_{j != i}, z(s_i, imposter_i)])`:
    `L = (1/2B) sum_i [ softplus(N_i - z(s_i, t_i)) + softplus(N_i - z(s_i, distant_i)) ]`, which are the
    cross-entropies of the target and of its distant form. The authors' code leaves the temperature out of the second.

    Args:
        temperature: a float or a `LearnableTemperature`.
        block_size: sources compared at a time, exact and with less memory, or `"auto"`; None: all at once.
        inputs: names of the tensors to read; default `("source", "target")`.

    Inputs:
        source, target: float tensors `(batch, dim)`, pooled states of encoder and decoder. They are normalised.
        imposter: float tensor `(batch, dim)`, the target's states moved a little up the gradient of their negative
            log-likelihood: close by, but no longer a good sentence.
        distant: float tensor `(batch, dim)`, the states moved up the gradient of the contrast and back to the same
            distribution of words: far away, but still right. Both need the decoder and are made before the loss.
        sample_weight: float tensor `(batch,)`; a row of weight 0 still serves as a negative.

    Feeding:
        `Captioner(..., heads=[Head(AdversarialStates(128, 512), ("image_tokens", "caption_linear_logits",
        "caption_labels", "caption_mask"), ("source", "target", "imposter", "distant"))])`, beside `Captioning()`.

    Returns:
        float32 scalar. `ln(batch + 1)` when all embeddings are equal.

    Raises:
        ValueError: bad temperature.

    Recommendations:
        For text generation. Without perturbed targets take `MultipleNegativesRanking`.

    Example:
        >>> AdversarialPairs(1.0)(np.eye(2), np.eye(2), imposter=np.eye(2), distant=np.eye(2))
        0.8620

    Reference:
        Lee et al., Contrastive Learning with Adversarial Perturbations, 2020, arXiv 2012.07280.
    """

    default_inputs = ("source", "target")
    optional_inputs = PairwiseLoss.optional_inputs | {"imposter": "imposter", "distant": "distant"}
    required_inputs = ("imposter", "distant")
    shapes = PairwiseLoss.shapes | {
        "source": "batch dim",
        "target": "batch dim",
        "imposter": "batch dim",
        "distant": "batch dim",
    }

    def __init__(self, temperature=0.1, block_size=None, inputs=None, **kwargs):
        super().__init__(block_size, inputs, **kwargs)
        self.temperature = check_temperature(temperature)

    def negatives(self, batch_size) -> int:
        return batch_size

    def call(self, source, target, imposter, distant, sample_weight=None) -> Tensor:
        scale = resolve_scale(self.temperature)

        def row(i, real, rows, columns):
            z = ops.matmul(columns["scale"] * rows["source"], ops.transpose(columns["target"]))
            other = ops.not_equal(i[:, None], ops.arange(ops.shape(z)[1], dtype="int32")[None, :])
            return {"others": masked_log_sum(z, other)}, {}

        columns = {"target": l2_normalize(target), "scale": scale}
        of_rows, _ = by_blocks(row, {"source": l2_normalize(source)}, columns, self.block_size)
        negative = ops.logaddexp(of_rows["others"], scale * paired_cosines(source, imposter))
        per_row = [ops.softplus(negative - scale * paired_cosines(source, right)) for right in (target, distant)]
        return weighted_mean(0.5 * sum(per_row), sample_weight)
