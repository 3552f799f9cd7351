"""Masked image modelling, the reconstruction loss of MAE."""

import keras
from keras import ops

from kzoo.losses.base import Loss, weighted_mean
from kzoo.types import Tensor


@keras.saving.register_keras_serializable(package="kzoo")
class MaskedImageModelling(Loss):
    """Mean squared error of the pixels of the masked patches.

    With `t` the pixels of a patch, standardised as `(t - mean) / sqrt(var + 1e-6)`, variance unbiased, where
    `normalize_targets`: `L` is the mean of `(prediction - t)^2` over the values of all masked patches of the batch.

    Args:
        normalize_targets: standardise each patch, which the paper finds to give better features.
        inputs: names of the tensors to read; default `("prediction", "target")`.

    Inputs:
        prediction: float tensor `(batch, patches, values)`, what the decoder says of each patch.
        target: float tensor `(batch, patches, values)`, the patches of the image.
        mask: tensor `(batch, patches)`, 1 or True where a patch was hidden.
        sample_weight: float tensor `(batch,)`, weighs the patches of an image.

    Feeding:
        `DualEncoder(..., heads=[Head(PatchDecoder(grid, 16, prefix_tokens=1), ("image_tokens", "image_kept"),
        "prediction"), Head(Patchify(16), "image_input", "target")])` and `kzoo.data.pairs(..., masks={"image":
        RandomPatches(grid, 0.75, drop=True)})`. In `SelfSupervised` the names begin with `view_1`:
        `mask="view_1_dropped"`.

    Returns:
        float32 scalar, 0 when nothing is masked.

    Raises:
        ValueError: patches of one value that should be standardised; attached to a batch without a mask.

    Recommendations:
        With a light decoder and three quarters of the patches hidden. Features for retrieval without tuning come
        from `DINO` and `IBOT`.

    Example:
        >>> MaskedImageModelling(normalize_targets=False)(np.zeros((1, 2, 3)), np.ones((1, 2, 3)), mask=np.ones((1, 2)))
        1.0

    Reference:
        He et al., Masked Autoencoders Are Scalable Vision Learners (MAE), 2021, arXiv 2111.06377.
    """

    default_inputs = ("prediction", "target")
    optional_inputs = Loss.optional_inputs | {"mask": "image_dropped"}
    required_inputs = ("mask",)
    shapes = Loss.shapes | {
        "prediction": "batch patches values",
        "target": "batch patches values",
        "mask": "batch patches",
    }

    def __init__(self, normalize_targets=True, inputs=None, **kwargs):
        super().__init__(inputs=inputs, **kwargs)
        self.normalize_targets = normalize_targets

    def call(self, prediction, target, mask, sample_weight=None) -> Tensor:
        target, values = ops.cast(target, "float32"), target.shape[-1]
        if self.normalize_targets:
            if values < 2:
                raise ValueError(
                    "MaskedImageModelling standardises patches over their values, but they have only 1; give whole "
                    "patches or normalize_targets=False."
                )
            target = target - ops.mean(target, axis=-1, keepdims=True)
            variance = ops.sum(ops.square(target), axis=-1, keepdims=True) / (values - 1)
            target = target * ops.rsqrt(variance + 1e-6)
        per_patch = ops.mean(ops.square(ops.cast(prediction, "float32") - target), axis=-1)  # (batch, patches)
        weight = ops.cast(mask, "float32")
        if sample_weight is not None:
            weight = weight * ops.cast(sample_weight, "float32")[:, None]
        return weighted_mean(per_patch, weight)
