"""SimCSE: two dropout passes of a sentence, or entailed and contradicting ones."""

import keras

from kzoo.losses.base import weighted_mean
from kzoo.losses.parts.candidates import own_among
from kzoo.losses.parts.pairwise import PairwiseLoss
from kzoo.losses.parts.temperature import check_temperature, resolve_scale
from kzoo.types import Tensor


@keras.saving.register_keras_serializable(package="kzoo")
class SimCSE(PairwiseLoss):
    """Each sentence must find its second pass through the encoder, or its entailment, among those of the batch.

    With the candidates `C = [b; c]` and `z_ij = cos(a_i, C_j) / temperature`, to which `hard_negative_weight` is
    added where `C_j` is the hard negative of i itself: `L = (1/B) sum_i [ LSE_j z_ij - z_ii ]`.

    Args:
        temperature: a float or a `LearnableTemperature`.
        hard_negative_weight: added to the logit of a sentence's own hard negative. The paper multiplies that term of
            the denominator by `alpha`: `ln(alpha)` here.
        block_size: rows compared at a time, exact and with less memory, or `"auto"`; None: all at once.
        inputs: names of the tensors to read; default `("view_1", "view_2")`, a third one names hard negatives.

    Inputs:
        a, b: float tensors `(batch, dim)`: two passes with different dropout masks, or a premise and what it
            entails. They are normalised.
        hard_negatives: float tensor `(batch, dim)`, what contradicts; row i is the hard negative of `a_i`. Optional.
        sample_weight: float tensor `(batch,)`; a row of weight 0 still serves as a negative.

    Feeding:
        `SelfSupervised(text_encoder)` with dropout and `kzoo.data.text_views(texts, preprocessor)`; of hard negatives
        `kzoo.data.text_pairs(source, preprocessor, texts=("query", "right", "wrong"))` and three `inputs`.

    Returns:
        float32 scalar. `ln(batch)` when all embeddings are equal, `ln(2 batch)` with hard negatives.

    Raises:
        ValueError: bad temperature.

    Recommendations:
        `ESimCSE` adds a queue of negatives to small batches. `MultipleNegativesRanking` takes more than one set of
        negatives.

    Example:
        >>> SimCSE(temperature=0.5)(np.eye(4), np.eye(4))
        0.3408

    Reference:
        Gao et al., SimCSE: Simple Contrastive Learning of Sentence Embeddings, 2021, arXiv 2104.08821.
    """

    default_inputs = ("view_1", "view_2")
    input_counts = (2, 3)
    shapes = PairwiseLoss.shapes | {"hard_negatives": "batch dim"}

    def __init__(self, temperature=0.05, hard_negative_weight=0.0, block_size=None, inputs=None, **kwargs):
        super().__init__(block_size, inputs, **kwargs)
        self.temperature = check_temperature(temperature)
        self.hard_negative_weight = hard_negative_weight

    def pairs(self, batch_size) -> tuple:
        return batch_size, batch_size * (len(self.input_names) - 1)

    def call(self, a, b, hard_negatives=None, sample_weight=None) -> Tensor:
        candidates = [b] if hard_negatives is None else [b, hard_negatives]
        own_hard = 0.0 if hard_negatives is None else self.hard_negative_weight
        scale = resolve_scale(self.temperature)
        per_row, _ = own_among(a, candidates, scale, block_size=self.block_size, own_hard=own_hard)
        return weighted_mean(per_row, sample_weight)
