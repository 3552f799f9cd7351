"""Neighbours from a memory that is kept in clusters as further positives, inspired by BECLR."""

import keras
from keras import ops

from kzoo.arguments import AMOUNT, COUNT, NOT_NEGATIVE, POSITIVE, SHARE
from kzoo.layers.numerics import NEGATIVE, l2_normalize
from kzoo.losses.base import Loss, weighted_mean
from kzoo.losses.parts.queue import add_queue, enqueued, filled
from kzoo.losses.views.swav import sinkhorn
from kzoo.types import Tensor


@keras.saving.register_keras_serializable(package="kzoo")
class ClusteredMemoryContrastive(Loss):
    """Each view must be near the teacher's other view of its picture, and near what a memory holds of that cluster.

    With unit rows: `P_i = (<a_i, k_i> + sum_{m in N_i} <a_i, m>) / (1 + |N_i|)`, where `k_i` is the key of the other
    view and `N_i` are the keys nearest to it in the memory, among those of its cluster. `L = - mean_i P_i +
    spread_weight log mean_i mean_j exp(<a_i, a_j> / t)`, over both views and over rows `j` of other pictures.

    After the loss the keys of a training step replace the oldest of the memory. Each goes to a cluster, by optimal
    transport so that all are used alike (`epsilon`, `iterations`, as in `SwAV`), and the centres move towards the means
    of what the memory holds of them. Until the memory is full there are no neighbours.

    Args:
        memory_size: keys that are held; BECLR has 20 for each cluster.
        dim: length of the embeddings.
        num_clusters: centres.
        neighbours: `|N_i|`, 0 for none; all of the memory is searched where a cluster has fewer.
        spread_weight: of the second term.
        temperature: `t`.
        momentum: share of its old place that a centre keeps in each step.
        epsilon, iterations: of the assignment of keys to clusters.
        seed: of the centres.
        inputs: names of the tensors to read; default `("view_1", "view_2", "teacher_view_1", "teacher_view_2")`; with a
            predictor the first two are its own.

    Inputs:
        a, b: float tensors `(batch, dim)`, two views by the student; normalised, as all others.
        key_a, key_b: float tensors `(batch, dim)`, the same by a momentum teacher; no gradient goes to them.
        sample_weight: float tensor `(batch,)`; a key of weight 0 still enters the memory.

    Feeding:
        `SelfSupervised(encoder, Projector((512, 128)), teacher=kzoo.training.EMATeacher(0.996))` and
        `kzoo.data.views`; `dim` is the projector's, 128 here.

    Returns:
        float32 scalar, `-1 + spread_weight / t` where all embeddings are equal.

    Raises:
        ValueError: embeddings that are not of length `dim`; bad sizes; more neighbours than the memory holds.

    Recommendations:
        For pictures of many classes without labels that a few-shot classifier is made of later, such as
        `kzoo.adaptation.TransportedMeans`. Without clusters and neighbours: `QueueContrastive`.

    Example:
        >>> loss = ClusteredMemoryContrastive(memory_size=8, dim=4, num_clusters=2, neighbours=1)
        >>> loss(np.eye(4), np.eye(4), np.eye(4), np.eye(4))
        -0.9

    Reference:
        Inspired by Poulakakis-Daktylidis and Jamali-Rad, BECLR (its memory DyCE), 2024, arXiv 2402.02444. There
        neighbours of a row are compared with neighbours of its key, which gives no gradient; that each row is near the
        neighbours of its key is our choice, and so are centres of unit length that start at random.
    """

    default_inputs = ("view_1", "view_2", "teacher_view_1", "teacher_view_2")
    shapes = Loss.shapes | dict.fromkeys(("a", "b", "key_a", "key_b"), "batch dim")
    arguments = {
        "memory_size": COUNT,
        "num_clusters": COUNT,
        "neighbours": AMOUNT,
        "spread_weight": NOT_NEGATIVE,
        "temperature": POSITIVE,
        "momentum": SHARE,
        "iterations": COUNT,
    }

    def __init__(
        self,
        memory_size=2048,
        dim=128,
        num_clusters=100,
        neighbours=5,
        spread_weight=0.1,
        temperature=2.0,
        momentum=0.9,
        epsilon=0.05,
        iterations=10,
        seed=None,
        inputs=None,
        **kwargs,
    ):
        super().__init__(inputs=inputs, **kwargs)
        if neighbours > memory_size:
            raise ValueError(f"neighbours is {neighbours}, more than the memory_size of {memory_size}; give fewer.")
        self.dim, self.num_clusters, self.neighbours = dim, num_clusters, neighbours
        self.spread_weight, self.temperature, self.momentum = spread_weight, temperature, momentum
        self.epsilon, self.iterations = epsilon, iterations
        add_queue(self, memory_size, dim, empty=True)
        self.clusters = self.add_weight(
            name="clusters", shape=(memory_size,), dtype="int32", initializer="zeros", trainable=False
        )
        normal = keras.initializers.RandomNormal(stddev=dim**-0.5, seed=seed)
        self.centres = self.add_weight(name="centres", shape=(num_clusters, dim), initializer=normal, trainable=False)

    def pairs(self, batch_size) -> tuple:
        return 2 * batch_size, 2 * batch_size

    def call(self, a, b, key_a, key_b, sample_weight=None, training=False) -> Tensor:
        for each in (a, b, key_a, key_b):
            if each.shape[-1] != self.dim:
                raise ValueError(
                    f"{type(self).__name__} has a memory of dim={self.dim}, but received embeddings of length "
                    f"{each.shape[-1]}; give the loss dim={each.shape[-1]}."
                )
        a, b = l2_normalize(a), l2_normalize(b)
        key_a, key_b = (ops.stop_gradient(l2_normalize(each)) for each in (key_a, key_b))
        near = 0.5 * (self.nearness(a, key_b) + self.nearness(b, key_a))
        spread = self._spread(a, b, sample_weight)
        if training:
            self._remember(ops.concatenate([key_a, key_b], axis=0))
        return self.spread_weight * spread - weighted_mean(near, sample_weight)

    def nearness(self, rows, keys) -> Tensor:
        """`P_i` of unit rows and the keys of their other views, `(batch,)`."""
        own = ops.sum(rows * keys, axis=1)
        if not self.neighbours:
            return own
        memory, clusters = ops.convert_to_tensor(self.queue), ops.convert_to_tensor(self.clusters)
        known = filled(memory)
        centres = l2_normalize(ops.convert_to_tensor(self.centres))
        cluster = ops.cast(ops.argmax(ops.matmul(keys, ops.transpose(centres)), axis=1), "int32")
        alike = ops.logical_and(ops.equal(cluster[:, None], clusters[None, :]), known[None, :])
        enough = ops.sum(ops.cast(alike, "int32"), axis=1, keepdims=True) >= self.neighbours
        wanted = ops.logical_or(alike, ops.logical_and(ops.logical_not(enough), known[None, :]))
        similarities = ops.where(wanted, ops.matmul(keys, ops.transpose(memory)), NEGATIVE)
        _, places = ops.top_k(ops.stop_gradient(similarities), self.neighbours)  # (batch, neighbours)
        found = ops.einsum("bd,bnd->bn", rows, ops.take(memory, places, axis=0))
        full = ops.cast(ops.all(known), "float32")
        return (own + full * ops.sum(found, axis=1)) / (1.0 + full * self.neighbours)

    def _spread(self, a, b, sample_weight):
        """`log mean_i mean_j exp(<z_i, z_j> / t)` over both views and rows of other pictures; 0 of one picture."""
        batch = ops.shape(a)[0]
        z = ops.concatenate([a, b], axis=0)
        picture = ops.arange(2 * batch, dtype="int32") % batch
        others = ops.cast(ops.not_equal(picture[:, None], picture[None, :]), "float32")
        count = ops.maximum(ops.cast(2 * batch - 2, "float32"), 1.0)
        of_rows = ops.sum(others * ops.exp(ops.matmul(z, ops.transpose(z)) / self.temperature), axis=1) / count
        mean = weighted_mean(0.5 * (of_rows[:batch] + of_rows[batch:]), sample_weight)
        there = mean > 0.0  # not of one picture, and not where all weights are 0
        return ops.where(there, ops.log(ops.where(there, mean, 1.0)), 0.0 * mean)

    def _remember(self, keys):
        centres = l2_normalize(ops.convert_to_tensor(self.centres))
        codes = sinkhorn(ops.matmul(keys, ops.transpose(centres)), self.epsilon, self.iterations)
        cluster = ops.cast(ops.argmax(codes, axis=1), "int32")
        memory, pointer = enqueued(self.queue, self.pointer, keys)
        clusters, _ = enqueued(self.clusters, self.pointer, cluster)
        names = ops.arange(self.num_clusters, dtype="int32")
        belongs = ops.cast(ops.logical_and(ops.equal(clusters[:, None], names), filled(memory)[:, None]), "float32")
        count = ops.sum(belongs, axis=0)[:, None]  # (clusters, 1)
        means = ops.matmul(ops.transpose(belongs), memory) / ops.maximum(count, 1.0)
        moved = l2_normalize(self.momentum * centres + (1.0 - self.momentum) * means)
        self.queue.assign(memory)
        self.clusters.assign(clusters)
        self.pointer.assign(pointer)
        self.centres.assign(ops.where(count > 0.0, moved, centres))
