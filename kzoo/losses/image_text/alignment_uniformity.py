"""InfoNCE with alignment and uniformity terms that close the contrastive gap."""

import keras
from keras import ops

from kzoo.layers.numerics import NEGATIVE, l2_normalize
from kzoo.losses.image_text.info_nce import InfoNCE
from kzoo.losses.parts.anchors import masked_log_sum
from kzoo.losses.parts.pairwise import PairwiseLoss, by_blocks
from kzoo.types import Tensor


@keras.saving.register_keras_serializable(package="kzoo")
class AlignmentUniformity(PairwiseLoss):
    """InfoNCE plus three terms: pairs lie close, each modality fills the sphere, and so do both together.

    With unit rows: `L = w_c InfoNCE(a, b) + w_a align + w_u uniform + w_x cross`, where
    `align = mean_i |a_i - b_i|^power`, `uniform` is the mean over both modalities of
    `log mean_{i < j} exp(-t |x_i - x_j|^2)`, and `cross = log mean_{i != j} exp(-t |a_i - b_j|^2)`.

    Args:
        temperature: of InfoNCE: a float, a `LearnableTemperature`, or None: the similarity head of the model that
            the loss is attached to, 0.07 when called alone.
        contrastive_weight, alignment_weight, uniformity_weight, cross_uniformity_weight: `w` above. All 1 is the
            authors' CUAXU, the last one 0 their CUA.
        t: how local uniformity is.
        power: of the distance in `align`.
        block_size: rows compared at a time, exact and with less memory, or `"auto"`; None: all at once.
        inputs: names of the tensors to read; default `("image_embeddings", "text_embeddings")`.

    Inputs:
        a, b: float tensors `(batch, dim)`; row i of `a` belongs to row i of `b`. They are normalised.
        scale: scalar, the model's own `1 / temperature`; read only when `temperature` is None.
        There is no `sample_weight`: uniformity is the logarithm of a mean over pairs, not a mean over rows.

    Returns:
        float32 scalar. `uniform` and `cross` lie in [-4 t, 0], 0 when all points are equal, and a batch of one has
        none; `align` lies in [0, 4] at power 2.

    Raises:
        ValueError: bad temperature.

    Recommendations:
        Embeddings of both modalities that serve in one space, in generation or in clustering. Retrieval alone needs
        only `InfoNCE`.

    Example:
        >>> AlignmentUniformity(contrastive_weight=0.0)(np.eye(4), np.eye(4))
        -8.0

    Reference:
        Fahim et al., It's Not a Modality Gap: Characterizing and Addressing the Contrastive Gap, 2024,
        arXiv 2405.18570; Wang and Isola, 2020, arXiv 2005.10242.
    """

    optional_inputs = {"scale": "logit_scale"}

    def __init__(
        self,
        temperature=None,
        contrastive_weight=1.0,
        alignment_weight=1.0,
        uniformity_weight=1.0,
        cross_uniformity_weight=1.0,
        t=2.0,
        power=2.0,
        block_size=None,
        inputs=None,
        **kwargs,
    ):
        super().__init__(block_size, inputs, **kwargs)
        self.contrastive = InfoNCE(temperature, block_size=block_size)
        self.contrastive_weight, self.alignment_weight = contrastive_weight, alignment_weight
        self.uniformity_weight, self.cross_uniformity_weight = uniformity_weight, cross_uniformity_weight
        self.t, self.power = t, power

    def call(self, a, b, scale=None) -> Tensor:
        a, b = l2_normalize(a), l2_normalize(b)
        terms = (
            (self.contrastive_weight, lambda: self.contrastive(a, b, scale=scale)),
            (self.alignment_weight, lambda: self._alignment(a, b)),
            (self.uniformity_weight, lambda: 0.5 * (self._uniformity(a, a) + self._uniformity(b, b))),
            (self.cross_uniformity_weight, lambda: self._uniformity(a, b)),
        )
        return sum((weight * term() for weight, term in terms if weight), ops.zeros(()))

    def _alignment(self, a, b):
        squared = ops.sum(ops.square(a - b), axis=-1)
        if self.power != 2.0:  # no other power has a gradient at 0
            squared = ops.power(ops.maximum(squared, 1e-12), 0.5 * self.power)
        return ops.mean(squared)

    def _uniformity(self, x, y):
        """`log mean_{i != j} exp(-t |x_i - y_j|^2)`; 0 for a single row."""

        def log_sums(i, real, rows, columns):
            z = -2.0 * self.t * (1.0 - ops.matmul(rows["x"], ops.transpose(columns["y"])))
            other = ops.not_equal(i[:, None], ops.arange(ops.shape(z)[1], dtype="int32")[None, :])
            return {"log_sum": masked_log_sum(z, other)}, {}

        log_sum = ops.logsumexp(by_blocks(log_sums, {"x": x}, {"y": y}, self.block_size)[0]["log_sum"])
        count = ops.cast(ops.shape(x)[0], "float32")
        log_count = ops.log(ops.maximum(count * (count - 1.0), 1.0))
        return ops.where(log_sum > 0.5 * NEGATIVE, log_sum - log_count, 0.0)
