"""Next-token cross-entropy, the captioning half of CoCa."""

import keras
from keras import ops

from kzoo.layers.linear_logits import LinearLogits
from kzoo.losses.base import Loss, weighted_mean
from kzoo.losses.parts.linear_cross_entropy import cross_entropy, linear_cross_entropy
from kzoo.types import Tensor


@keras.saving.register_keras_serializable(package="kzoo")
class Captioning(Loss):
    """Cross-entropy of the next token, averaged over all real tokens of the batch.

    Per token with logits `z` and label `y`: `(1 - e) (LSE z - z_y) + e mean_v (LSE z - z_v)`. The labels
    come already shifted. Of a large vocabulary it reads states and weights, as captioners give them to it: the logits
    are then made a chunk of the vocabulary at a time, and memory does not grow with `batch * length * vocabulary`.

    Args:
        label_smoothing: `e` above, in [0, 1).
        pad_id: labels with this id do not count; used only where no mask is given. Prefer the mask: an id
            that pads may also be a real token (0 is "!" in CLIP's vocabulary).
        inputs: names of the tensors to read; default `("caption_logits", "caption_labels")`.

    Inputs:
        logits: float tensor `(batch, length, vocabulary)`, or `kzoo.layers.LinearLogits` that stand for it.
        labels: int tensor `(batch, length)`.
        mask: bool tensor `(batch, length)`, True where a label counts (`caption_mask` of the batch).
        sample_weight: float tensor `(batch,)`, multiplies the tokens of a row.

    Feeding:
        `Captioner`, which shifts the texts of any pairs.

    Returns:
        float32 scalar; `ln(vocabulary)` for uniform logits, 0 when no label counts.

    Recommendations:
        Next to a contrastive loss: `InfoNCE() + 2.0 * Captioning()`, the weights of CoCa.

    Example:
        >>> Captioning()(np.zeros((2, 5, 8)), np.zeros((2, 5), "int32"))
        2.0794

    Reference:
        Yu et al., CoCa, 2022, arXiv 2205.01917.
    """

    default_inputs = ("caption_logits", "caption_labels")
    optional_inputs = Loss.optional_inputs | {"mask": "caption_mask"}
    takes_linear_logits = True
    shapes = Loss.shapes | {"logits": "batch length vocabulary", "labels": "batch length", "mask": "batch length"}
    numbers = Loss.numbers | {"labels": "index of vocabulary"}

    def __init__(self, label_smoothing=0.0, pad_id=None, inputs=None, **kwargs):
        super().__init__(inputs=inputs, **kwargs)
        self.label_smoothing, self.pad_id = label_smoothing, pad_id
        self.autocast = False  # states in half precision are multiplied as they are

    def call(self, logits, labels, mask=None, sample_weight=None) -> Tensor:
        labels = ops.cast(labels, "int32")
        of_tokens = linear_cross_entropy if isinstance(logits, LinearLogits) else cross_entropy
        values = of_tokens(logits, labels, self.label_smoothing)  # (batch, length)
        if mask is not None:
            counts = ops.cast(mask, "float32")
        elif self.pad_id is not None:
            counts = ops.cast(ops.not_equal(labels, self.pad_id), "float32")
        else:
            counts = ops.ones_like(values)
        if sample_weight is not None:
            counts = counts * ops.expand_dims(ops.cast(sample_weight, "float32"), -1)
        return weighted_mean(values, counts)
