"""The cross-entropy of logits over classes."""

import keras
from keras import ops

from kzoo.losses.base import Loss, weighted_mean
from kzoo.types import Tensor


@keras.saving.register_keras_serializable(package="kzoo")
class CrossEntropy(Loss):
    """Each row must find its class among logits that a head, or a model with prompts, gives.

    `L = mean_i (1 - e) (LSE z_i - z_iy) + e mean_c (LSE z_i - z_ic)`, in float32.

    Args:
        label_smoothing: `e` above, the share of a target that all classes have alike.
        inputs: names of the tensors to read; default `("logits",)`.

    Inputs:
        logits: float tensor `(batch, classes)`.
        labels: int tensor `(batch,)`.
        sample_weight: float tensor `(batch,)`.

    Feeding:
        `SelfSupervised(encoder, heads=[Head(Classifier(num_classes), "view_1_features", "logits")])` and
        `kzoo.data.views({"images": images, "labels": labels}, steps, views=1)`.

    Returns:
        float32 scalar; `ln(classes)` for equal logits.

    Raises:
        ValueError: labels out of range.

    Recommendations:
        For classifiers and what is adapted to classes, such as `kzoo.adaptation.CoOp`. Where embeddings are to be
        compared afterwards, `SupCon`; where all classes shall be equally far apart, `EquiangularBasisVectors`.

    Example:
        >>> CrossEntropy()(np.zeros((2, 4)), labels=np.array([0, 3]))
        1.3863

    Reference:
        Smoothing: Szegedy et al., Rethinking the Inception Architecture, 2015, arXiv 1512.00567.
    """

    default_inputs = ("logits",)
    optional_inputs = Loss.optional_inputs | {"labels": "labels"}
    required_inputs = ("labels",)
    shapes = Loss.shapes | {"logits": "batch classes", "labels": "batch"}
    numbers = Loss.numbers | {"labels": "index of classes"}

    def __init__(self, label_smoothing=0.0, inputs=None, **kwargs):
        super().__init__(inputs=inputs, **kwargs)
        self.label_smoothing = label_smoothing

    def call(self, logits, labels, sample_weight=None) -> Tensor:
        logits, labels = ops.cast(logits, "float32"), ops.cast(labels, "int32")
        missing = ops.logsumexp(logits, axis=-1, keepdims=True) - logits  # (batch, classes)
        values = ops.squeeze(ops.take_along_axis(missing, labels[:, None], axis=-1), axis=-1)
        if self.label_smoothing:
            e = self.label_smoothing
            values = (1.0 - e) * values + e * ops.mean(missing, axis=-1)
        return weighted_mean(values, sample_weight)
