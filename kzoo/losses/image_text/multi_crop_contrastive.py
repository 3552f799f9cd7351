"""CL2L: global and local crops of images and texts."""

import keras

from kzoo.losses.image_text.info_nce import InfoNCE
from kzoo.losses.parts.pairwise import PairwiseLoss
from kzoo.losses.parts.temperature import LearnableTemperature
from kzoo.types import Tensor


@keras.saving.register_keras_serializable(package="kzoo")
class MultiCropContrastive(PairwiseLoss):
    """InfoNCE of images and texts, and of every local crop of the image with every local crop of its text.

    With `G` the loss of the global pair and `M` the mean over the `n^2` pairs of local crops, with label smoothing:
    `L = (G + n M) / (1 + n)`.

    Args:
        temperature: of the global pair: a float, a `LearnableTemperature`, or None: the similarity head of the model
            that the loss is attached to, 0.07 when called alone.
        local_temperature: of the crops: a float, a `LearnableTemperature`, or None: one of the loss's own that is
            learned, from 0.07.
        label_smoothing: of the crops, in [0, 1).
        block_size: rows compared at a time, exact and with less memory, or `"auto"`; None: all at once.
        inputs: names of the tensors to read; default
            `("image_embeddings", "text_embeddings", "crop_image_embeddings", "crop_text_embeddings")`.

    Inputs:
        a, b: float tensors `(batch, dim)`, images and texts.
        a_local, b_local: float tensors `(batch, n, width)`, the same number of crops of both. Any length, all are
            normalised.
        sample_weight: float tensor `(batch,)`, of all pairs of a sample.
        scale: scalar, the model's own `1 / temperature`; read only when `temperature` is None.

    Feeding:
        `DualEncoder` and `kzoo.data.pairs(source, preprocessor, crops=Crops(images=n, captions=n))`, bags `crop_images`
        and `crop_token_ids`.

    Returns:
        float32 scalar. `InfoNCE` for n = 0.

    Raises:
        ValueError: bad temperature or smoothing; crops that are not `(batch, n, width)` with one n.

    Recommendations:
        Each of the `n^2` pairs costs a matrix of scores: keep n at a few. `SelfSupervisedContrastive` where only
        images have views.

    Example:
        >>> crops = np.eye(4)[:, None, :].repeat(2, axis=1)
        >>> MultiCropContrastive(1.0, local_temperature=1.0)(np.eye(4), np.eye(4), crops, crops)
        0.7937

    Reference:
        Fini et al., Improved baselines for vision-language pre-training, 2023, arXiv 2305.08675.
    """

    default_inputs = ("image_embeddings", "text_embeddings", "crop_image_embeddings", "crop_text_embeddings")
    optional_inputs = InfoNCE.optional_inputs
    shapes = PairwiseLoss.shapes | {"a_local": "batch n width", "b_local": "batch n width"}

    def __init__(
        self,
        temperature=None,
        local_temperature=None,
        label_smoothing=0.1,
        block_size=None,
        inputs=None,
        **kwargs,
    ):
        super().__init__(block_size, inputs, **kwargs)
        local_temperature = LearnableTemperature() if local_temperature is None else local_temperature
        self.of_globals = InfoNCE(temperature, block_size=block_size)
        self.of_locals = InfoNCE(local_temperature, label_smoothing=label_smoothing, block_size=block_size)

    def call(self, a, b, a_local, b_local, sample_weight=None, scale=None) -> Tensor:
        n = a_local.shape[1]
        of_globals = self.of_globals(a, b, sample_weight=sample_weight, scale=scale)
        of_locals = [
            self.of_locals(a_local[:, p], b_local[:, q], sample_weight=sample_weight)
            for p in range(n)
            for q in range(n)
        ]
        return (of_globals + n * sum(of_locals) / max(n * n, 1)) / (1 + n)
