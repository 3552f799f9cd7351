"""The 1-to-K contrastive loss: one picture, its captions in K languages."""

import keras
from keras import ops

from kzoo.arguments import one_of
from kzoo.layers.numerics import l2_normalize
from kzoo.losses.base import weighted_mean
from kzoo.losses.parts.anchors import mean_of_anchors
from kzoo.losses.parts.pairwise import PairwiseLoss, Tile, cross_entropies, same
from kzoo.losses.parts.temperature import check_temperature, resolve_scale
from kzoo.types import Tensor

NORMALIZATIONS = ("mean", "released")


@keras.saving.register_keras_serializable(package="kzoo")
class OneToK(PairwiseLoss):
    """An image must find its K texts, one per language, among those of all images, and each text its image.

    With unit rows, `z_ic = <a_i, b_c> / temperature` over the B K texts c, of which K belong to image i, and text c to
    image `i(c)`: `L_i2t = (1/B) sum_i [ LSE_c z_ic - (1/K) sum_{c of i} z_ic ]`,
    `L_t2i = (1/BK) sum_c [ LSE_i z_ic - z_{i(c) c} ]`, and the loss is `(L_i2t + L_t2i) / 2`.

    Args:
        temperature: a float, a `LearnableTemperature`, or None: the similarity head of the model that the loss is
            attached to, 0.07 when called alone.
        normalization: `"mean"` as above, our choice since both directions weigh the same for every K, or
            `"released"`, the authors' code: `(L_i2t + L_t2i / K) / 2`.
        block_size: images compared at a time, exact and with less memory, or `"auto"`; None: all at once.
        inputs: names of the tensors to read; default `("image_embeddings", "text_embeddings")`.

    Inputs:
        a: float tensor `(batch, dim)`.
        b: float tensor `(batch, K, dim)`. Any length, they are normalised.
        mask: bool tensor `(batch, K)`, True where there is a text (`text_mask` of the batch); default everywhere. What
            is missing is neither a negative nor an anchor; an image without any text counts as 0 in `L_i2t`.
        sample_weight: float tensor `(batch,)`, of an image and its texts.
        scale: scalar, the model's own `1 / temperature`; read only when `temperature` is None.

    Feeding:
        `DualEncoder` and `kzoo.data.pairs(source, preprocessor, captions_per_image=K)`, whose captions are a bag, with
        `text_mask`.

    Returns:
        float32 scalar. `InfoNCE` for K = 1.

    Raises:
        ValueError: unknown normalization, bad temperature, texts that are not `(batch, K, dim)`.

    Recommendations:
        Where the K texts say different things, `MultiCaptionContrastive`, which never makes one the other's negative.
        `kzoo.evaluation.mean_rank_variance` measures whether the languages agree. `describe` does not know K: memory
        is K times what it says.

    Example:
        >>> OneToK(temperature=1.0)(np.eye(2), np.eye(2)[:, None, :].repeat(3, axis=1))
        0.8626

    Reference:
        Nie et al., Improving the Consistency in Cross-Lingual Cross-Modal Retrieval with 1-to-K Contrastive Learning,
        2024, arXiv 2406.18254.
    """

    optional_inputs = PairwiseLoss.optional_inputs | {"mask": "text_mask", "scale": "logit_scale"}
    shapes = PairwiseLoss.shapes | {"b": "batch K dim", "mask": "batch K"}
    arguments = {"normalization": one_of(*NORMALIZATIONS)}

    def __init__(self, temperature=None, normalization="mean", block_size=None, inputs=None, **kwargs):
        super().__init__(block_size, inputs, **kwargs)
        self.temperature, self.normalization = check_temperature(temperature), normalization

    def call(self, a, b, mask=None, sample_weight=None, scale=None) -> Tensor:
        count = b.shape[1]
        mask = ops.ones(ops.shape(b)[:2]) if mask is None else ops.cast(mask, "float32")
        real = ops.reshape(mask, (-1,))  # (batch * K,)

        def tile(i, j, rows, columns):
            z = ops.matmul(columns["scale"] * rows["a"], ops.transpose(columns["b"]))
            own = same(i, j // count) * columns["real"][None, :]
            share = own / ops.maximum(ops.sum(own, axis=1, keepdims=True), 1.0)
            return Tile(z, share, column_target=own, keep=ops.broadcast_to(columns["real"] > 0.0, ops.shape(z)))

        columns = {"b": ops.reshape(l2_normalize(b), (-1, b.shape[2])), "real": real}
        columns["scale"] = resolve_scale(self.temperature, scale)
        of_images, of_texts = cross_entropies(tile, {"a": l2_normalize(a)}, columns, "both", self.block_size)
        of_their_images = None if sample_weight is None else ops.repeat(sample_weight, count)
        t2i = mean_of_anchors(of_texts, real, of_their_images) / (count if self.normalization == "released" else 1)
        return 0.5 * (weighted_mean(of_images, sample_weight) + t2i)
