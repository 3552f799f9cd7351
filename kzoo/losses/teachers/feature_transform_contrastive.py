"""Feature transformation of a queue's positives and negatives."""

import keras
from keras import ops

from kzoo.layers.numerics import l2_normalize
from kzoo.losses.base import weighted_mean
from kzoo.losses.parts.mixing import random_permutation, random_share
from kzoo.losses.parts.queue import enqueue
from kzoo.losses.teachers.queue_contrastive import QueueContrastive
from kzoo.types import Tensor


@keras.saving.register_keras_serializable(package="kzoo")
class FeatureTransformContrastive(QueueContrastive):
    """MoCo whose positives are pushed apart before they are compared, and whose negatives are mixed.

    With unit `q`, `k`, queue `Q`, and numbers drawn for each dimension, `l ~ Beta(pos_alpha, pos_alpha) + 1` and
    `m ~ Beta(neg_alpha, neg_alpha)`: `q' = l q + (1 - l) k`, `k' = l k + (1 - l) q`,
    `Q' = m Q + (1 - m) Q[permutation]` and `L_i = LSE(z_i) - z_i0`,
    `z_i = [q'_i k'_i, q'_i Q'_1 .. q'_i Q'_K] / t`. The queue gets the key as it was.

    Args:
        temperature: `t`, a float or a `LearnableTemperature`.
        queue_size: `K`, keys of the queue.
        dim: length of the embeddings.
        pos_alpha: shape of the extrapolation; larger keeps `l` closer to 1.5.
        neg_alpha: shape of the mixing of negatives.
        renormalize: bring what was transformed back to unit length; as published it is not, so that logits may
            exceed `1 / t`.
        seed: of the queue's first vectors and of what is drawn.
        block_size: rows compared at a time, exact and with less memory, or `"auto"`; None: all at once.
        inputs: names of the tensors to read; default `("query", "key")`.

    Inputs:
        q, k: float tensors `(batch, dim)`; they are normalised, no gradient goes to `k`.
        lam_pos: float tensor `(batch, dim)`, `l`; drawn by default.
        lam_neg: float tensor `(queue_size, dim)`, `m`; drawn by default.
        permutation: int tensor `(queue_size,)`; drawn by default.
        sample_weight: float tensor `(batch,)`; a key of weight 0 still enters the queue.

    Feeding:
        `SelfSupervised(encoder, Projector((512, 128)), teacher=kzoo.training.EMATeacher(0.999))` and `kzoo.data.views`;
        `dim` is the projector's, 128 here.

    Returns:
        float32 scalar, `QueueContrastive` where `lam_pos` and `lam_neg` are 1.

    Raises:
        ValueError: embeddings that are not of length `dim`; sizes or Beta shapes that are not positive.

    Recommendations:
        Where `QueueContrastive` is soon too easy; `MoCHi` makes each query harder negatives of its own.

    Example:
        >>> loss = FeatureTransformContrastive(temperature=1.0, queue_size=4, dim=4)
        >>> loss.queue.assign(np.eye(4))
        >>> loss(np.eye(4), np.eye(4), lam_pos=np.ones((4, 4)), lam_neg=np.ones((4, 4)))
        1.1326

    Reference:
        Zhu et al., Improving Contrastive Learning by Visualizing Feature Transformation, 2021, arXiv 2108.02982.
    """

    optional_inputs = {name: name for name in ("sample_weight", "lam_pos", "lam_neg", "permutation")}
    shapes = QueueContrastive.shapes | {"lam_pos": "batch dim", "lam_neg": "queue dim", "permutation": "queue"}

    def __init__(
        self,
        temperature=0.2,
        queue_size=65536,
        dim=128,
        pos_alpha=2.0,
        neg_alpha=1.6,
        renormalize=False,
        seed=None,
        block_size=None,
        inputs=None,
        **kwargs,
    ):
        super().__init__(temperature, queue_size, dim, seed=seed, block_size=block_size, inputs=inputs, **kwargs)
        self.pos_alpha, self.neg_alpha, self.renormalize = pos_alpha, neg_alpha, renormalize
        self.seed_generator = keras.random.SeedGenerator(seed)

    def call(self, q, k, lam_pos=None, lam_neg=None, permutation=None, sample_weight=None, training=False) -> Tensor:
        q, k = self.unit_rows(q, k)
        seed, queue = self.seed_generator, ops.convert_to_tensor(self.queue)
        if lam_pos is None:
            lam_pos = 1.0 + random_share(ops.shape(q), self.pos_alpha, seed)
        if lam_neg is None:
            lam_neg = random_share(queue.shape, self.neg_alpha, seed)
        if permutation is None:
            permutation = random_permutation(self.queue_size, seed)
        lam_pos, lam_neg = ops.cast(lam_pos, "float32"), ops.cast(lam_neg, "float32")
        rows = {"q": lam_pos * q + (1.0 - lam_pos) * k, "k": lam_pos * k + (1.0 - lam_pos) * q}
        negatives = lam_neg * queue + (1.0 - lam_neg) * ops.take(queue, permutation, axis=0)
        if self.renormalize:
            rows = {name: l2_normalize(value) for name, value in rows.items()}
            negatives = l2_normalize(negatives)
        per_row = self.cross_entropy(rows, negatives)
        if training:
            enqueue(self, k)
        return weighted_mean(per_row, sample_weight)
