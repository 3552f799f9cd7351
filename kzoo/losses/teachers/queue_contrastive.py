"""QueueContrastive, the loss of MoCo."""

import keras
from keras import ops

from kzoo.layers.numerics import NEGATIVE, l2_normalize, log_sum_exp
from kzoo.losses.base import weighted_mean
from kzoo.losses.parts.pairwise import PairwiseLoss, by_blocks, same
from kzoo.losses.parts.queue import add_queue, enqueue
from kzoo.losses.parts.temperature import check_temperature, resolve_scale
from kzoo.types import Tensor


@keras.saving.register_keras_serializable(package="kzoo")
class QueueContrastive(PairwiseLoss):
    """Each query must find its key among the keys of past batches, which wait in a queue.

    With unit rows `q`, `k` and the queue `Q`: `L_i = LSE(z_i) - z_i0`, `z_i = [q_i k_i, q_i Q_1 .. q_i Q_K] / t`.
    After the loss the keys of a training step replace the oldest of the queue. With `num_groups` there is one queue
    for each group, for instance each language, and negatives come from a row's own.

    Args:
        temperature: `t`, a float or a `LearnableTemperature`. MoCo v2 has 0.2; for groups of languages we take 0.05.
        queue_size: `K`, keys of a queue.
        dim: length of the embeddings.
        stop_gradient_key: keep the gradient from the keys, which a slow copy of the encoder makes.
        num_groups: how many queues.
        seed: of the random unit vectors that the queue starts with.
        block_size: rows compared at a time, exact and with less memory, or `"auto"`; None: all at once.
        inputs: names of the tensors to read; default `("query", "key")`.

    Inputs:
        q, k: float tensors `(batch, dim)`; row i of `k` is the key of row i of `q`. They are normalised.
        groups: int tensor `(batch,)` below `num_groups`; read only where there are several.
        sample_weight: float tensor `(batch,)`; a key of weight 0 still enters the queue.

    Feeding:
        `SelfSupervised(encoder, Projector((512, 128)), teacher=kzoo.training.EMATeacher(0.999))` and `kzoo.data.views`;
        `dim` is the projector's, 128 here.

    Returns:
        float32 scalar, `ln(1 + queue_size)` where all similarities are equal.

    Raises:
        ValueError: embeddings that are not of length `dim`; several groups but no `groups`; bad sizes.

    Recommendations:
        For small batches beside a momentum encoder. Where thousands of rows fit in a batch, `InfoNCE` compares with
        embeddings that are not out of date.

    Example:
        >>> loss = QueueContrastive(temperature=1.0, queue_size=4, dim=4)
        >>> loss.queue.assign(np.eye(4))
        >>> loss(np.eye(4), np.eye(4))
        1.1326

    Reference:
        He et al., MoCo, 2019, arXiv 1911.05722. Groups: Wu et al., contrastive context
        prediction (CCP), 2022, arXiv 2206.03281.
    """

    default_inputs = ("query", "key")
    optional_inputs = PairwiseLoss.optional_inputs | {"groups": "groups"}
    shapes = PairwiseLoss.shapes | {"q": "batch dim", "k": "batch dim", "groups": "batch"}
    numbers = PairwiseLoss.numbers | {"groups": "index of num_groups"}

    def __init__(
        self,
        temperature=0.07,
        queue_size=65536,
        dim=128,
        stop_gradient_key=True,
        num_groups=1,
        seed=None,
        block_size=None,
        inputs=None,
        **kwargs,
    ):
        super().__init__(block_size, inputs, **kwargs)
        self.temperature, self.stop_gradient_key = check_temperature(temperature), stop_gradient_key
        self.queue_size, self.dim, self.num_groups = queue_size, dim, num_groups
        add_queue(self, queue_size, dim, None if num_groups == 1 else num_groups, seed=seed)

    def pairs(self, batch_size) -> tuple:
        return batch_size, 1 + self.num_groups * self.queue_size

    def negatives(self, batch_size) -> int:
        return self.queue_size

    def call(self, q, k, groups=None, sample_weight=None, training=False) -> Tensor:
        if self.num_groups == 1:
            groups = None
        elif groups is None:
            raise ValueError(f"{type(self).__name__} has num_groups={self.num_groups} queues; give the groups of rows.")
        q, k = self.unit_rows(q, k)
        per_row = self.cross_entropy({"q": q, "k": k} | ({} if groups is None else {"groups": groups}), self.queue)
        if training:
            enqueue(self, k, groups)
        return weighted_mean(per_row, sample_weight)

    def unit_rows(self, q, k) -> tuple:
        """Query and key, normalised, the key without gradient if it has none."""
        for each in (q, k):
            if each.shape[-1] != self.dim:
                raise ValueError(
                    f"{type(self).__name__} has a queue of dim={self.dim}, but received embeddings of length "
                    f"{each.shape[-1]}; give the loss dim={each.shape[-1]}."
                )
        k = l2_normalize(k)
        return l2_normalize(q), ops.stop_gradient(k) if self.stop_gradient_key else k

    def cross_entropy(self, rows, queue, more=None) -> Tensor:
        """`L_i` of `rows` q and k against a queue, `(batch,)`.

        Args:
            rows: dict of tensors `(batch, ...)`.
            queue: `(K, dim)`, or `(groups, K, dim)`.
            more: function `(rows, s, queue)` to similarities with further negatives, `(rows of the block, n)`; `s`
                are those with the queue, over the temperature.
        """

        def contrast(i, real, rows, columns):
            s = ops.matmul(columns["scale"] * rows["q"], ops.transpose(columns["queue"]))
            own = columns["scale"] * ops.sum(rows["q"] * rows["k"], axis=1)
            others = [] if more is None else [ops.logsumexp(columns["scale"] * more(rows, s, columns["queue"]), axis=1)]
            if "groups" in rows:
                group = ops.arange(ops.shape(s)[1], dtype="int32") // self.queue_size
                s = ops.where(same(ops.cast(rows["groups"], "int32"), group) > 0.0, s, NEGATIVE)
            log_sums = ops.stack([own, log_sum_exp(s, axis=1), *others], axis=1)  # no copy of s beside the others
            return {"value": ops.logsumexp(log_sums, axis=1) - own}, {}

        columns = {"queue": ops.reshape(queue, (-1, self.dim)), "scale": resolve_scale(self.temperature)}
        return by_blocks(contrast, rows, columns, self.block_size)[0]["value"]
