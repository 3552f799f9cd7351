"""The fine-grained loss of DreamLIP: each caption gathers the patches that it speaks of."""

import keras
from keras import ops

from kzoo.layers.numerics import l2_normalize
from kzoo.losses.image_text.info_nce import InfoNCE
from kzoo.losses.parts.pairwise import PairwiseLoss
from kzoo.types import Tensor


@keras.saving.register_keras_serializable(package="kzoo")
class SubcaptionGrouping(PairwiseLoss):
    """Each caption must find the region of its image that it describes, among the regions of all captions.

    With unit patches `v_ip` and captions `t_ik`, `s_p = <t_ik, v_ip>` is scaled to [0, 1] over the patches of the
    image, put to 0 below the threshold and divided by its sum: `w_p`. The region is `g_ik = sum_p w_p v_ip`, and the
    loss `InfoNCE` between all B K regions and captions.

    Args:
        threshold: scaled similarity that a patch must reach, in [0, 1); None: `1 / patches`, the paper's from memory.
        temperature: a float, a `LearnableTemperature`, or None: the similarity head of the model that the loss is
            attached to, 0.07 when called alone.
        block_size: regions compared at a time, exact and with less memory, or `"auto"`; None: all at once.
        inputs: names of the tensors to read; default `("image_projected_tokens", "text_embeddings")`.

    Inputs:
        patches: float tensor `(batch, patches, dim)`.
        captions: float tensor `(batch, K, dim)`, of the same space. Any length, both are normalised.
        sample_weight: float tensor `(batch,)`, of all captions of a sample.
        scale: scalar, the model's own `1 / temperature`; read only when `temperature` is None.

    Feeding:
        `DualEncoder(..., heads=[Head(TokenProjector(embed_dim, skip=1), "image_tokens", "image_projected_tokens")])`
        and `kzoo.data.pairs(source, preprocessor, captions_per_image=K)`, whose captions are a bag.

    Returns:
        float32 scalar. Patches that are all equally like a caption are averaged.

    Raises:
        ValueError: `threshold` outside [0, 1), bad temperature, tensors of other shapes.

    Recommendations:
        Added to `MultiCaptionContrastive`, not instead: it says nothing of the whole image. Tokens on both sides are
        for `FineGrainedContrastive`. `describe` does not know K: memory is `K^2` times what it says, in blocks K times.

    Example:
        >>> SubcaptionGrouping(temperature=1.0)(np.eye(4).reshape(2, 2, 4), np.eye(4).reshape(2, 2, 4))
        0.7437

    Reference:
        Zheng et al., DreamLIP: Language-Image Pre-training with Long Captions, 2024, arXiv 2403.17007. Its code pairs
        patches with captions of other images for K above 1; this is the pairing that the paper describes.
    """

    default_inputs = ("image_projected_tokens", "text_embeddings")
    optional_inputs = InfoNCE.optional_inputs
    shapes = PairwiseLoss.shapes | {"patches": "batch patches dim", "captions": "batch K dim"}

    def __init__(self, threshold=None, temperature=None, block_size=None, inputs=None, **kwargs):
        super().__init__(block_size, inputs, **kwargs)
        self.threshold = threshold
        self.info_nce = InfoNCE(temperature, block_size=block_size)

    def call(self, patches, captions, sample_weight=None, scale=None) -> Tensor:
        v, t = l2_normalize(patches), l2_normalize(captions)
        threshold = 1.0 / v.shape[1] if self.threshold is None else self.threshold
        s = ops.matmul(t, ops.transpose(v, (0, 2, 1)))  # (batch, K, patches)
        low, high = ops.min(s, axis=-1, keepdims=True), ops.max(s, axis=-1, keepdims=True)
        spread = high - low > 1e-10
        w = (s - low) / ops.where(spread, high - low + 1e-10, 1.0)
        w = ops.where(spread, ops.where(w >= threshold, w, 0.0), 1.0)
        regions = ops.matmul(w / ops.maximum(ops.sum(w, axis=-1, keepdims=True), 1e-12), v)  # (batch, K, dim)
        regions, t = (ops.reshape(x, (-1, x.shape[-1])) for x in (regions, t))
        if sample_weight is not None:
            sample_weight = ops.repeat(sample_weight, captions.shape[1])
        return self.info_nce(regions, t, sample_weight=sample_weight, scale=scale)
