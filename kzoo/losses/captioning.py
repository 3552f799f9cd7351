"""Next-token cross-entropy, the captioning half of CoCa."""

import keras
from keras import ops

from kzoo.losses.base import Loss, weighted_mean


@keras.saving.register_keras_serializable(package="kzoo")
class Captioning(Loss):
    """Cross-entropy of the next token, averaged over all real tokens of the batch.

    Per token with logits `z` and label `y`: `(1 - e) (LSE z - z_y) + e mean_v (LSE z - z_v)`. The labels
    come already shifted.

    Args:
        label_smoothing: `e` above, in [0, 1).
        pad_id: labels with this id do not count; used only where no mask is given. Prefer the mask: an id
            that pads may also be a real token (0 is "!" in CLIP's vocabulary).
        inputs: names of the tensors to read; default `("caption_logits", "caption_labels")`.

    Inputs:
        logits: float tensor `(batch, length, vocabulary)`.
        labels: int tensor `(batch, length)`.
        mask: bool tensor `(batch, length)`, True where a label counts (`caption_mask` of the batch).
        sample_weight: float tensor `(batch,)`, multiplies the tokens of a row.

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

    def __init__(self, label_smoothing=0.0, pad_id=None, inputs=None, **kwargs):
        super().__init__(inputs=inputs, **kwargs)
        if not 0.0 <= label_smoothing < 1.0:
            raise ValueError(f"label_smoothing is {label_smoothing}; give a number in [0, 1).")
        self.label_smoothing, self.pad_id = label_smoothing, pad_id

    def call(self, logits, labels, mask=None, sample_weight=None):
        z = ops.cast(logits, "float32")
        labels = ops.cast(labels, "int32")
        log_normalizer = ops.logsumexp(z, axis=-1)  # (batch, length)
        z_label = ops.squeeze(ops.take_along_axis(z, ops.expand_dims(labels, -1), axis=-1), axis=-1)
        e = self.label_smoothing
        target = (1.0 - e) * z_label + e * ops.mean(z, axis=-1) if e else z_label
        if mask is not None:
            counts = ops.cast(mask, "float32")
        elif self.pad_id is not None:
            counts = ops.cast(ops.not_equal(labels, self.pad_id), "float32")
        else:
            counts = ops.ones_like(target)
        if sample_weight is not None:
            counts = counts * ops.expand_dims(ops.cast(sample_weight, "float32"), -1)
        return weighted_mean(log_normalizer - target, counts)
