"""Metrix: a metric-learning loss on embeddings and on mixtures of positives and negatives."""

import keras
from keras import ops

from kzoo.arguments import POSITIVE, one_of
from kzoo.layers.numerics import NEGATIVE, l2_normalize
from kzoo.losses.base import Loss
from kzoo.losses.parts.anchors import masked_log_sum, mean_of_anchors, mixed_cosine, nearest, positives_and_negatives
from kzoo.losses.parts.mixing import random_share
from kzoo.losses.parts.pairwise import PairwiseLoss, by_blocks
from kzoo.types import Tensor

BASES = ("contrastive", "multi_similarity")


@keras.saving.register_keras_serializable(package="kzoo")
class MetricMix(PairwiseLoss):
    """A metric-learning loss, and the same loss on points between each positive and the hardest negatives.

    Over an anchor's positives P and negatives N with cosines `s`, clean: `sp(sum_P rp(s)) + sn(sum_N rn(s))`. Over
    `V = {n(lam x_p + (1 - lam) x_n)}`, each positive with each of the most similar negatives, mixed:
    `sp(sum_V lam rp(s)) + sn(sum_V (1 - lam) rn(s))`. `L = clean + mix_weight * mixed`, averaged over the anchors that
    have both. `"contrastive"`: `rp = -s`, `rn = [s - margin]_+`, `sp` and `sn` are the identity.
    `"multi_similarity"`: `rp = e^(-beta (s - margin))`, `sp = ln(1 + .) / beta`, `rn = e^(gamma (s - margin))`,
    `sn = ln(1 + .) / gamma`.

    Args:
        base: `"contrastive"` or `"multi_similarity"`.
        mix_weight: weight of the mixed loss.
        margin: `margin` above.
        beta, gamma: scales of `"multi_similarity"`.
        num_negatives: how many of an anchor's most similar negatives are mixed.
        alpha: `lam` is drawn from Beta(alpha, alpha), once in a call.
        block_size: anchors at a time, exact and with less memory, or `"auto"`; None: all at once.
        seed: of the draws of `lam`.
        inputs: names of the tensors to read; default `("view_1",)`.

    Inputs:
        a: float tensor `(batch, dim)`; it is normalised.
        labels: int tensor `(batch,)`.
        lam: a number; drawn when it is not given.
        sample_weight: float tensor `(batch,)`, weighs the anchors.

    Feeding:
        `SelfSupervised(encoder)`, whose projection is compared, and `kzoo.data.views({"images": images, "labels":
        labels}, steps, views=1)`; of two views the second is left alone. In a `DualEncoder` name what it reads,
        `inputs=("image_embeddings",)`, and give the column: `kzoo.data.pairs(source, preprocessor,
        columns=("labels",))`.

    Returns:
        float32 scalar; 0 when no anchor has both a positive and a negative.

    Raises:
        ValueError: unknown base.

    Recommendations:
        Mixing helps where classes are many and samples of each few; with large batches `SupCon` is simpler.

    Example:
        >>> MetricMix()(np.array([[1, 0], [0, 1], [0, 1]]), labels=np.array([0, 0, 1]), lam=0.5)
        0.2

    Reference:
        Venkataramanan et al., It Takes Two to Tango: Mixup for Deep Metric Learning, 2021, arXiv 2106.04990; written
        from the paper. One `lam` in a call is our choice. The mixup of inputs is not part of the loss.
    """

    default_inputs = ("view_1",)
    optional_inputs = Loss.optional_inputs | {"labels": "labels", "lam": "lam"}
    required_inputs = ("labels",)
    shapes = PairwiseLoss.shapes | {"labels": "batch", "lam": "scalar"}
    numbers = PairwiseLoss.numbers | {"labels": "id"}
    arguments = {"base": one_of(*BASES), "beta": POSITIVE, "alpha": POSITIVE}

    def __init__(
        self,
        base="contrastive",
        mix_weight=0.4,
        margin=0.5,
        beta=18.0,
        gamma=75.0,
        num_negatives=3,
        alpha=2.0,
        block_size=None,
        seed=None,
        inputs=None,
        **kwargs,
    ):
        super().__init__(block_size, inputs, **kwargs)
        self.base, self.mix_weight, self.margin, self.beta, self.gamma = base, mix_weight, margin, beta, gamma
        self.num_negatives, self.alpha = num_negatives, alpha
        self.seed_generator = keras.random.SeedGenerator(seed)

    def pairs(self, batch_size) -> tuple:
        return batch_size, batch_size * (1 + self.num_negatives)

    def negatives(self, batch_size) -> int:
        return batch_size - 1

    def call(self, a, labels, lam=None, sample_weight=None) -> Tensor:
        if lam is None:
            lam = random_share((), float(self.alpha), self.seed_generator)

        def anchors(i, real, rows, columns):
            z, lam = columns["z"], columns["lam"]
            positive, negative = positives_and_negatives(i, rows["labels"], columns["labels"])
            s = ops.matmul(rows["z"], ops.transpose(z))
            hardest, where = nearest(ops.where(negative, s, NEGATIVE), self.num_negatives)  # (rows, K)
            found = hardest > 0.5 * NEGATIVE
            hardest = ops.where(found, hardest, 0.0)
            inner = ops.einsum("bd,rkd->rbk", z, ops.take(z, where, axis=0))
            lengths = ops.sum(ops.square(z), axis=1)
            of_negatives = ops.take(lengths, where)[:, None, :]
            mixed = mixed_cosine(lam, lengths[:, None], of_negatives, inner, s[:, :, None], hardest[:, None, :])
            there = ops.logical_and(positive[:, :, None], found[:, None, :])
            defined = ops.logical_and(ops.any(positive, axis=1), ops.any(negative, axis=1))
            clean = self._base(s, positive, s, negative, 1.0, 1.0, 1)
            value = clean + self.mix_weight * self._base(mixed, there, mixed, there, lam, 1.0 - lam, (1, 2))
            return {"value": ops.where(defined, value, 0.0), "defined": ops.cast(defined, "float32")}, {}

        rows = {"z": l2_normalize(a), "labels": labels}
        of_rows, _ = by_blocks(anchors, rows, rows | {"lam": ops.cast(lam, "float32")}, self.block_size)
        return mean_of_anchors(of_rows["value"], of_rows["defined"], sample_weight)

    def _base(self, s_p, positive, s_n, negative, weight_p, weight_n, axis):
        if self.base == "contrastive":
            pull = ops.sum(ops.where(positive, -weight_p * s_p, 0.0), axis=axis)
            return pull + ops.sum(ops.where(negative, weight_n * ops.relu(s_n - self.margin), 0.0), axis=axis)
        pull = masked_log_sum(-self.beta * (s_p - self.margin), positive, axis) + _log(weight_p)
        push = masked_log_sum(self.gamma * (s_n - self.margin), negative, axis) + _log(weight_n)
        return ops.softplus(pull) / self.beta + ops.softplus(push) / self.gamma


def _log(weight):
    return ops.log(ops.maximum(weight, 1e-30))  # a share of 0 leaves its side out
