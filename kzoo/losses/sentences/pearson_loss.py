"""One minus the correlation of cosines and scores."""

import keras
from keras import ops

from kzoo.losses.base import Loss, weighted_mean
from kzoo.losses.parts.candidates import paired_cosines
from kzoo.types import Tensor

SMALLEST = 1e-12  # variance; a list whose largest value is 1 and varies less is constant


@keras.saving.register_keras_serializable(package="kzoo")
class PearsonLoss(Loss):
    """The cosines of the pairs must rise linearly with their scores.

    With `p_i = cos(a_i, b_i)` and the score `y_i`: `L = 1 - cov(p, y) / (std(p) std(y))`, over the batch.

    Args:
        inputs: names of the tensors to read; default `("image_embeddings", "text_embeddings")`.

    Inputs:
        a, b: float tensors `(batch, dim)`, pair by pair. They are normalised.
        scores: tensor `(batch,)`, how similar each pair is, on any scale.
        sample_weight: float tensor `(batch,)`, weighs each pair in all means (our choice).

    Feeding:
        `kzoo.data.text_pairs(source, preprocessor, columns=("scores",))` for `SelfSupervised(text_encoder)`, with
        `inputs=("view_1", "view_2")`; of pictures and texts a column `scores` of `kzoo.data.pairs`, for a
        `DualEncoder`.

    Returns:
        float32 scalar in [0, 2]. 0 when all scores are equal, 1 when all cosines are.

    Recommendations:
        Larger batches: a correlation of a few pairs is noise. `CoSENT` asks for the order alone.

    Example:
        >>> PearsonLoss()(np.eye(2), np.array([[1.0, 0.0], [1.0, 1.0]]), scores=np.array([0.0, 1.0]))
        2.0

    Reference:
        Zhang et al., CoDiEmb, 2025, arXiv 2508.11442.
    """

    optional_inputs = Loss.optional_inputs | {"scores": "scores"}
    required_inputs = ("scores",)
    shapes = Loss.shapes | {"a": "batch dim", "b": "batch dim", "scores": "batch"}
    numbers = Loss.numbers | {"scores": "number"}

    def call(self, a, b, scores, sample_weight=None) -> Tensor:
        p, y = paired_cosines(a, b), ops.cast(scores, "float32")
        y = y / ops.maximum(ops.max(ops.abs(y)), 1e-30)
        p, y = (each - weighted_mean(each, sample_weight) for each in (p, y))
        variance = [weighted_mean(ops.square(each), sample_weight) for each in (p, y)]
        inverse = [ops.rsqrt(ops.maximum(each, SMALLEST)) for each in variance]
        correlation = weighted_mean(p * y, sample_weight) * inverse[0] * inverse[1]
        return ops.where(variance[1] > SMALLEST, 1.0 - correlation, 0.0 * correlation)
