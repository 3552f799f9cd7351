"""The multi-caption loss of DreamLIP."""

import keras
from keras import ops

from kzoo.losses.parts.anchors import mean_of_anchors
from kzoo.losses.parts.pairwise import PairwiseLoss, Tile, cross_entropies, mean_of_directions
from kzoo.losses.parts.products import unit_rows
from kzoo.losses.parts.temperature import check_temperature, resolve_scale
from kzoo.types import Tensor


@keras.saving.register_keras_serializable(package="kzoo")
class MultiCaptionContrastive(PairwiseLoss):
    """InfoNCE of the images with their first captions, with their second ones and so on, averaged.

    With `L(a, b)` the two directions of `InfoNCE`: `(1/K) sum_k L(a, b_k)`. Captions of one image are never compared.

    Args:
        temperature: a float, a `LearnableTemperature`, or None: the similarity head of the model that the loss is
            attached to, 0.07 when called alone.
        block_size: rows compared at a time, exact and with less memory, or `"auto"`; None: all at once.
        inputs: names of the tensors to read; default `("image_embeddings", "text_embeddings")`.

    Inputs:
        a: float tensor `(batch, dim)`.
        b: float tensor `(batch, K, dim)`. Any length, they are normalised.
        mask: bool tensor `(batch, K)`, True where there is a caption (`text_mask` of the batch); default everywhere. A
            sample without a k-th caption takes no part in the k-th term.
        sample_weight: float tensor `(batch,)`; a row of weight 0 still serves as a negative.
        scale: scalar, the model's own `1 / temperature`; read only when `temperature` is None.

    Feeding:
        `DualEncoder` and `kzoo.data.pairs(source, preprocessor, captions_per_image=K)`, whose captions are a bag, with
        `text_mask`.

    Returns:
        float32 scalar. `InfoNCE` for K = 1; a term that no sample takes part in is 0.

    Raises:
        ValueError: bad temperature, texts that are not `(batch, K, dim)`.

    Recommendations:
        Where the K captions say the same, as translations do, `OneToK`. DreamLIP adds `SubcaptionGrouping`.

    Example:
        >>> MultiCaptionContrastive(temperature=1.0)(np.eye(2), np.eye(2)[:, None, :].repeat(3, axis=1))
        0.3133

    Reference:
        Zheng et al., DreamLIP: Language-Image Pre-training with Long Captions, 2024, arXiv 2403.17007.
    """

    optional_inputs = PairwiseLoss.optional_inputs | {"mask": "text_mask", "scale": "logit_scale"}
    shapes = PairwiseLoss.shapes | {"b": "batch K dim", "mask": "batch K"}

    def __init__(self, temperature=None, block_size=None, inputs=None, **kwargs):
        super().__init__(block_size, inputs, **kwargs)
        self.temperature = check_temperature(temperature)

    def call(self, a, b, mask=None, sample_weight=None, scale=None) -> Tensor:
        a, b = unit_rows(a, resolve_scale(self.temperature, scale)), unit_rows(b)
        mask = ops.ones(ops.shape(b)[:2]) if mask is None else ops.cast(mask, "float32")

        def tile(i, j, rows, columns):
            return Tile(keep=rows["real"][:, None] * columns["real"][None, :] > 0.0)

        terms = []
        for k in range(b.shape[1]):
            real = mask[:, k]
            rows, columns = {"a": a, "real": real}, {"b": b[:, k], "real": real}
            per_row = cross_entropies(tile, rows, columns, "both", self.block_size, own=True, product=("a", "b"))
            terms.append(mean_of_anchors(mean_of_directions(*per_row), real, sample_weight))
        return sum(terms) / len(terms)
