"""MoCHi, a queue with mixed hard negatives."""

import keras
from keras import ops

from kzoo.layers.numerics import l2_normalize
from kzoo.losses.base import weighted_mean
from kzoo.losses.parts.queue import enqueue
from kzoo.losses.teachers.queue_contrastive import QueueContrastive
from kzoo.types import Tensor


@keras.saving.register_keras_serializable(package="kzoo")
class MoCHi(QueueContrastive):
    """MoCo whose hardest negatives are mixed with each other and with the query into harder ones.

    With `H` the `n_hard` keys of the queue that are most like `q_i`, the logits of `QueueContrastive` get, all
    over `t`, `s` times `q_i n(alpha H_u + (1 - alpha) H_v)` with `alpha ~ U(0, 1)`, `u != v`, and `s_prime` times
    `q_i n(beta q_i + (1 - beta) H_w)` with `beta ~ U(0, 0.5)`. No gradient goes through mixed points, not even through
    the query in them: our choice, the authors published no code.

    Args:
        temperature: `t`, a float or a `LearnableTemperature`.
        queue_size: keys of the queue.
        dim: length of the embeddings.
        n_hard: how many keys are hard.
        s: how many mixtures of two hard keys each row gets.
        s_prime: how many mixtures with the query itself.
        warmup_epochs: until this epoch nothing is mixed; used where the batch says which `epoch` it is of, from 0.
        seed: of the queue's first vectors and of what is drawn.
        block_size: rows compared at a time, exact and with less memory, or `"auto"`; None: all at once. Mixtures take
            `block_size * (s + s_prime) * dim` numbers.
        inputs: names of the tensors to read; default `("query", "key")`.

    Inputs:
        q, k: float tensors `(batch, dim)`; they are normalised, no gradient goes to `k`.
        pair_indices: int tensor `(batch, s, 2)`, `u` and `v`, places in `H` from the hardest on; drawn by default.
        alpha: float tensor `(batch, s)`; drawn by default.
        query_indices: int tensor `(batch, s_prime)`, `w`; drawn by default.
        beta: float tensor `(batch, s_prime)`; drawn by default.
        epoch: int scalar, or the same one in each row; without it every step mixes.
        sample_weight: float tensor `(batch,)`; a key of weight 0 still enters the queue.

    Feeding:
        `SelfSupervised(encoder, Projector((512, 128)), teacher=kzoo.training.EMATeacher(0.999))` and `kzoo.data.views`;
        `dim` is the projector's, 128 here.

    Returns:
        float32 scalar, never below `QueueContrastive` with the same queue.

    Raises:
        ValueError: fewer than two hard keys, or more than the queue has; embeddings that are not of length `dim`.

    Recommendations:
        For long training with MoCo's queue; short training and small queues do as well with `QueueContrastive`.

    Example:
        >>> loss = MoCHi(temperature=1.0, queue_size=4, dim=4, n_hard=2, s=1, s_prime=0)
        >>> loss.queue.assign(np.eye(4))
        >>> loss(np.eye(4)[:1], np.eye(4)[:1], pair_indices=[[[0, 1]]], alpha=[[1.0]])
        1.4119

    Reference:
        Kalantidis et al., Hard Negative Mixing for Contrastive Learning (MoCHi), 2020, arXiv 2010.01028.
    """

    optional_inputs = {"sample_weight": "sample_weight"} | {
        name: name for name in ("pair_indices", "alpha", "query_indices", "beta", "epoch")
    }
    shapes = QueueContrastive.shapes | {
        "pair_indices": "batch s 2",
        "alpha": "batch s",
        "query_indices": "batch s_prime",
        "beta": "batch s_prime",
        "epoch": "scalar | batch",
    }

    def __init__(
        self,
        temperature=0.2,
        queue_size=65536,
        dim=128,
        n_hard=1024,
        s=1024,
        s_prime=128,
        warmup_epochs=15,
        seed=None,
        block_size=None,
        inputs=None,
        **kwargs,
    ):
        super().__init__(temperature, queue_size, dim, seed=seed, block_size=block_size, inputs=inputs, **kwargs)
        if not 2 <= n_hard <= queue_size:
            raise ValueError(f"n_hard is {n_hard}; give at least 2, to mix, and at most queue_size={queue_size}.")
        self.n_hard, self.s, self.s_prime, self.warmup_epochs = n_hard, s, s_prime, warmup_epochs
        self.seed_generator = keras.random.SeedGenerator(seed)

    def pairs(self, batch_size) -> tuple:
        return batch_size, 1 + self.queue_size + self.s + self.s_prime

    def negatives(self, batch_size) -> int:
        return self.queue_size + self.s + self.s_prime

    def call(
        self,
        q,
        k,
        pair_indices=None,
        alpha=None,
        query_indices=None,
        beta=None,
        epoch=None,
        sample_weight=None,
        training=False,
    ) -> Tensor:
        q, k = self.unit_rows(q, k)
        batch, seed = ops.shape(q)[0], self.seed_generator
        rows = {"q": q, "k": k}
        if pair_indices is None:
            u = keras.random.randint((batch, self.s), 0, self.n_hard, seed=seed)
            step = keras.random.randint((batch, self.s), 1, self.n_hard, seed=seed)
            pair_indices = ops.stack([u, (u + step) % self.n_hard], axis=-1)
        if alpha is None:
            alpha = keras.random.uniform((batch, self.s), seed=seed)
        if query_indices is None:
            query_indices = keras.random.randint((batch, self.s_prime), 0, self.n_hard, seed=seed)
        if beta is None:
            beta = keras.random.uniform((batch, self.s_prime), 0.0, 0.5, seed=seed)
        mixing = {"pairs": pair_indices, "alpha": alpha} if self.s else {}
        mixing |= {"query_indices": query_indices, "beta": beta} if self.s_prime else {}
        per_row = self.cross_entropy(rows | mixing, self.queue, self.mixed_similarities if mixing else None)
        if epoch is not None:
            warm = ops.max(ops.convert_to_tensor(epoch)) >= self.warmup_epochs
            per_row = ops.where(warm, per_row, self.cross_entropy(rows, self.queue))
        if training:
            enqueue(self, k)
        return weighted_mean(per_row, sample_weight)

    def mixed_similarities(self, rows, s, queue) -> Tensor:
        """`<q, h>` and `<q, h'>` of a block of rows, `(rows, s + s_prime)`."""
        hardest = ops.top_k(ops.stop_gradient(s), self.n_hard)[1]  # (rows, n_hard), the hardest first
        q = ops.stop_gradient(rows["q"])[:, None]

        def hard(places):  # (rows, n) -> (rows, n, dim)
            return ops.take(queue, ops.take_along_axis(hardest, ops.cast(places, hardest.dtype), axis=1), axis=0)

        def mixture(share, one, other):
            share = ops.cast(share, "float32")[:, :, None]
            return l2_normalize(share * one + (1.0 - share) * other)

        mixed = []
        if self.s:
            mixed.append(mixture(rows["alpha"], hard(rows["pairs"][:, :, 0]), hard(rows["pairs"][:, :, 1])))
        if self.s_prime:
            mixed.append(mixture(rows["beta"], q, hard(rows["query_indices"])))
        mixed = ops.stop_gradient(ops.concatenate(mixed, axis=1))
        return ops.einsum("bd,bnd->bn", rows["q"], mixed)
