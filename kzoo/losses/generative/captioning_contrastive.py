"""The objective of CoCa: contrast and captions together."""

import keras

from kzoo.losses.generative.captioning import Captioning
from kzoo.losses.image_text.info_nce import InfoNCE
from kzoo.losses.parts.pairwise import PairwiseLoss
from kzoo.types import Tensor


@keras.saving.register_keras_serializable(package="kzoo")
class CaptioningContrastive(PairwiseLoss):
    """The sum of InfoNCE and Captioning under one name, with the weights of CoCa.

    `L = contrastive_weight InfoNCE(a, b) + caption_weight Captioning(logits, labels)`.

    Args:
        temperature: of InfoNCE: a float, a `LearnableTemperature`, or None: the similarity head of the model that
            the loss is attached to, 0.07 when called alone.
        contrastive_weight: 1 in CoCa and in COSMO.
        caption_weight: 2 in CoCa, 1 in COSMO.
        block_size: rows compared at a time, exact and with less memory, or `"auto"`; None: all at once.
        inputs: names of the tensors to read; default
            `("image_embeddings", "text_embeddings", "caption_logits", "caption_labels")`.

    Inputs:
        a, b: float tensors `(batch, dim)`; row i of `a` belongs to row i of `b`. They are normalised.
        logits: float tensor `(batch, length, vocabulary)`, or `kzoo.layers.LinearLogits` that stand for it.
        labels: int tensor `(batch, length)`, shifted.
        mask: bool tensor `(batch, length)`, True where a label counts (`caption_mask` of the batch).
        sample_weight: float tensor `(batch,)`, of both terms.
        scale: scalar, the model's own `1 / temperature`; read only when `temperature` is None.

    Feeding:
        `Captioner`, which shifts the texts of any pairs.

    Returns:
        float32 scalar.

    Raises:
        ValueError: bad temperature.

    Recommendations:
        `InfoNCE() + 2.0 * Captioning()` is the same loss, logs both terms and takes all their options.

    Example:
        >>> CaptioningContrastive()(np.eye(4), np.eye(4), np.zeros((4, 5, 8)), np.zeros((4, 5), "int32"))
        4.1589

    Reference:
        Yu et al., CoCa, 2022, arXiv 2205.01917; Wang et al., COSMO, 2024, arXiv 2401.00849.
    """

    default_inputs = ("image_embeddings", "text_embeddings", "caption_logits", "caption_labels")
    optional_inputs = InfoNCE.optional_inputs | Captioning.optional_inputs
    takes_linear_logits = True
    shapes = PairwiseLoss.shapes | Captioning.shapes
    numbers = PairwiseLoss.numbers | Captioning.numbers

    def __init__(
        self,
        temperature=None,
        contrastive_weight=1.0,
        caption_weight=2.0,
        block_size=None,
        inputs=None,
        **kwargs,
    ):
        super().__init__(block_size, inputs, **kwargs)
        self.contrastive, self.captioning = InfoNCE(temperature, block_size=block_size), Captioning()
        self.contrastive_weight, self.caption_weight = contrastive_weight, caption_weight
        self.autocast = False  # states in half precision are multiplied as they are

    def call(self, a, b, logits, labels, mask=None, sample_weight=None, scale=None) -> Tensor:
        contrastive = self.contrastive(a, b, sample_weight=sample_weight, scale=scale)
        captioning = self.captioning(logits, labels, mask=mask, sample_weight=sample_weight)
        return self.contrastive_weight * contrastive + self.caption_weight * captioning
