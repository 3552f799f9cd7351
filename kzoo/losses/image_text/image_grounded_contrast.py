"""The image's side of DeGLA: a caption against rewritten versions of it."""

import keras

from kzoo.losses.base import Loss, weighted_mean
from kzoo.losses.parts.own_negatives import choice_among_own
from kzoo.losses.parts.temperature import check_temperature, resolve_scale
from kzoo.types import Tensor


@keras.saving.register_keras_serializable(package="kzoo")
class ImageGroundedContrast(Loss):
    """Each image must prefer its caption to that caption's own hard negatives, without a look at the batch.

    With unit rows and `z = <a_i, .> / temperature`:
    `L = (1/B) sum_i [ LSE(z of b_i, n_i1 ... n_iN) - z of b_i ]`. Samples do not see each other, so no memory is
    quadratic in the batch.

    Args:
        temperature: a float, a `LearnableTemperature`, or None: the similarity head of the model that the loss is
            attached to, 0.07 when called alone.
        inputs: names of the tensors to read; default `("image_embeddings", "text_embeddings")`.

    Inputs:
        a, b: float tensors `(batch, dim)`; they are normalised.
        negatives: float tensor `(batch, count, dim)`, captions that are nearly those of `b` but wrong for `a`.
        mask: bool tensor `(batch, count)` (`negatives_mask` of the batch), True where a negative is there.
        sample_weight: float tensor `(batch,)`.
        scale: scalar, the model's own `1 / temperature`; read only when `temperature` is None.

    Feeding:
        `DualEncoder` and `kzoo.data.pairs(source, preprocessor)` with a column or an entry `negatives`, a list of texts
        for each pair: they are the bag `negative_token_ids`, which the text tower reads.

    Returns:
        float32 scalar; 0 without negatives, `ln(1 + count)` when all candidates are equal.

    Raises:
        ValueError: `negatives` is not `(batch, count, dim)`; bad temperature.

    Recommendations:
        It only sharpens details; add it to a loss over the batch, as `DecoupledGlobalLocal` does.
        `HardNegativeContrastive` lets the negatives compete with the batch instead.

    Example:
        >>> ImageGroundedContrast()(np.eye(2), np.eye(2), negatives=np.eye(2)[:, None])
        0.6931

    Reference:
        Decoupled Global-Local Alignment (DeGLA), 2025, arXiv 2504.16801.
    """

    optional_inputs = Loss.optional_inputs | {
        "negatives": "negative_text_embeddings",
        "mask": "negatives_mask",
        "scale": "logit_scale",
    }
    required_inputs = ("negatives",)
    shapes = Loss.shapes | {"a": "batch dim", "b": "batch dim", "negatives": "batch count dim", "mask": "batch count"}

    def __init__(self, temperature=None, inputs=None, **kwargs):
        super().__init__(inputs=inputs, **kwargs)
        self.temperature = check_temperature(temperature)

    def negatives(self, batch_size) -> int:
        return 1  # at least; how many, only the batch says

    def call(self, a, b, negatives, mask=None, sample_weight=None, scale=None) -> Tensor:
        per_row = choice_among_own(a, b, negatives, resolve_scale(self.temperature, scale), mask)
        return weighted_mean(per_row, sample_weight)
