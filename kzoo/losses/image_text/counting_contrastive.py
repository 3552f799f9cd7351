"""The counting loss: a caption against the same caption with another number."""

import keras
from keras import ops

from kzoo.losses.base import Loss
from kzoo.losses.parts.anchors import mean_of_anchors
from kzoo.losses.parts.own_negatives import choice_among_own
from kzoo.losses.parts.temperature import check_temperature, resolve_scale
from kzoo.types import Tensor


@keras.saving.register_keras_serializable(package="kzoo")
class CountingContrastive(Loss):
    """Each image must prefer its caption to the same caption with a wrong number in it.

    With unit rows: `L = mean_i softplus((<a_i, c_i> - <a_i, b_i>) / temperature)`, over the samples that count
    something: `ImageGroundedContrast` with one negative.

    Args:
        temperature: a float or a `LearnableTemperature`. The default 1 stands for none, as in the reproduction of the
            method that we read; its authors published no code.
        inputs: names of the tensors to read; default `("image_embeddings", "text_embeddings")`.

    Inputs:
        a, b: float tensors `(batch, dim)`; they are normalised.
        counterfactual: float tensor `(batch, dim)`, the captions of `b` with another number.
        mask: bool tensor `(batch,)` (`counting_mask` of the batch), True where the caption counts something; the
            others are left out of the mean. Default all.
        sample_weight: float tensor `(batch,)`.

    Feeding:
        `DualEncoder` and `kzoo.data.pairs(source, preprocessor)` with the columns or entries `counterfactual_texts` and
        `counting_mask`.

    Returns:
        float32 scalar; `ln 2` when caption and counterfactual are equal, 0 when no sample counts anything.

    Raises:
        ValueError: bad temperature.

    Recommendations:
        Next to a loss over the batch: `InfoNCE() + CountingContrastive()`; the weight 1 is from memory of the paper.

    Example:
        >>> CountingContrastive()(np.eye(2), np.eye(2), counterfactual=np.eye(2)[::-1])
        0.3133

    Reference:
        Paiss et al., Teaching CLIP to Count to Ten, 2023, arXiv 2302.12066.
    """

    optional_inputs = Loss.optional_inputs | {
        "counterfactual": "counterfactual_text_embeddings",
        "mask": "counting_mask",
    }
    required_inputs = ("counterfactual",)
    shapes = Loss.shapes | {"a": "batch dim", "b": "batch dim", "counterfactual": "batch dim", "mask": "batch"}
    numbers = Loss.numbers | {"mask": "flag"}

    def __init__(self, temperature=1.0, inputs=None, **kwargs):
        super().__init__(inputs=inputs, **kwargs)
        self.temperature = check_temperature(temperature)

    def negatives(self, batch_size) -> int:
        return 1

    def call(self, a, b, counterfactual, mask=None, sample_weight=None) -> Tensor:
        per_row = choice_among_own(a, b, counterfactual[:, None], resolve_scale(self.temperature))
        return mean_of_anchors(per_row, ops.ones_like(per_row) if mask is None else mask, sample_weight)
