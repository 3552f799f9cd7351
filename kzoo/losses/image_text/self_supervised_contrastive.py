"""SLIP: CLIP's loss plus SimCLR's."""

import keras

from kzoo.losses.image_text.info_nce import InfoNCE
from kzoo.losses.parts.pairwise import PairwiseLoss
from kzoo.losses.views.nt_xent import NTXent
from kzoo.types import Tensor


@keras.saving.register_keras_serializable(package="kzoo")
class SelfSupervisedContrastive(PairwiseLoss):
    """InfoNCE between images and texts plus NT-Xent between two more views of each image.

    `L = InfoNCE(a, b) + ssl_weight NTXent(view_1, view_2)`.

    Args:
        temperature: of `InfoNCE`: a float, a `LearnableTemperature`, or None: the similarity head of the model that
            the loss is attached to, 0.07 when called alone.
        ssl_temperature: of `NTXent`: a float or a `LearnableTemperature`.
        ssl_weight: weight of `NTXent`.
        block_size: rows compared at a time, exact and with less memory, or `"auto"`; None: all at once.
        inputs: names of the tensors to read; default
            `("image_embeddings", "text_embeddings", "view_1_image_projected", "view_2_image_projected")`.

    Inputs:
        a, b: float tensors `(batch, dim)`, images and texts.
        view_1, view_2: float tensors `(batch, width)`, from the head for views. Any length, all are normalised.
        sample_weight: float tensor `(batch,)`, of both parts.
        scale: scalar, the model's own `1 / temperature`; read only when `temperature` is None.

    Feeding:
        `DualEncoder(..., heads=[Head(Projector((512, 128)), "*_features", "*_projected")])` and
        `kzoo.data.pairs(source, preprocessor)` with the columns or entries `view_1_images` and `view_2_images`, further
        pictures of each pair.

    Returns:
        float32 scalar.

    Raises:
        ValueError: bad temperature.

    Recommendations:
        For other losses of the views, add them: `InfoNCE() + 0.05 * BarlowTwins(inputs=("view_1", "view_2"))`. With
        crops of the texts too, `MultiCropContrastive`.

    Example:
        >>> SelfSupervisedContrastive(1.0, ssl_temperature=0.5)(*4 * [np.eye(4)])
        1.3381

    Reference:
        Mu et al., SLIP: Self-supervision meets Language-Image Pre-training, 2021, arXiv 2112.12750. The intra-modal
        term of Cross the Gap (Mistretta et al., 2025) is this one.
    """

    default_inputs = ("image_embeddings", "text_embeddings", "view_1_image_projected", "view_2_image_projected")
    optional_inputs = InfoNCE.optional_inputs
    shapes = PairwiseLoss.shapes | {"view_1": "batch width", "view_2": "batch width"}

    def __init__(self, temperature=None, ssl_temperature=0.1, ssl_weight=1.0, block_size=None, inputs=None, **kwargs):
        super().__init__(block_size, inputs, **kwargs)
        self.ssl_weight = ssl_weight
        self.info_nce = InfoNCE(temperature, block_size=block_size)
        self.nt_xent = NTXent(ssl_temperature, block_size=block_size)

    def pairs(self, batch_size) -> tuple | None:
        return self.nt_xent.pairs(batch_size)

    def negatives(self, batch_size) -> int:
        return self.info_nce.negatives(batch_size)

    def call(self, a, b, view_1, view_2, sample_weight=None, scale=None) -> Tensor:
        across = self.info_nce(a, b, sample_weight=sample_weight, scale=scale)
        return across + self.ssl_weight * self.nt_xent(view_1, view_2, sample_weight=sample_weight)
