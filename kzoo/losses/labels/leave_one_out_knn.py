"""LOOK: leave-one-out classification by nearest neighbours."""

import keras
from keras import ops

from kzoo.layers.numerics import NEGATIVE, l2_normalize
from kzoo.losses.base import Loss
from kzoo.losses.parts.anchors import masked_log_sum, mean_of_anchors, nearest
from kzoo.losses.parts.pairwise import PairwiseLoss, by_blocks
from kzoo.losses.parts.queue import add_queue, enqueue, enqueued
from kzoo.losses.parts.temperature import check_temperature, resolve_scale
from kzoo.types import Tensor

UNLABELLED = -1  # of a slot of the queue that holds no key yet


@keras.saving.register_keras_serializable(package="kzoo")
class LeaveOneOutKNN(PairwiseLoss):
    """Classifies each row by its nearest neighbours, itself left out, and needs only some of them to agree.

    With cosines `s`, the k nearest candidates `N_k(i)` and those of the same label `P_k(i)`:
    `L_i = LSE_{N_k(i)} s/t - LSE_{P_k(i)} s/t`. Where no neighbour is of the same label, the nearest candidate that is
    joins both sets; rows that have none in all candidates do not count. Which rows are neighbours has no gradient.

    Args:
        k: neighbours; with as many as candidates the loss is that of neighbourhood component analysis.
        temperature: `t` above, a float or a `LearnableTemperature`.
        queue_size: candidates are this many past embeddings instead of the batch; 0: the batch.
        dim: length of an embedding; only for a queue.
        block_size: rows compared at a time, exact and with less memory, or `"auto"`; None: all at once.
        seed: of the vectors that the queue starts from; they are no candidates.
        inputs: names of the tensors to read; default `("view_1",)`.

    Inputs:
        a: float tensor `(batch, dim)`; it is normalised.
        labels: int tensor `(batch,)`, 0 or more.
        sample_weight: float tensor `(batch,)`.
        training: whether the embeddings then go into the queue.

    Feeding:
        `SelfSupervised(encoder)`, whose projection is compared, and `kzoo.data.views({"images": images, "labels":
        labels}, steps, views=1)`; of two views the second is left alone. In a `DualEncoder` name what it reads,
        `inputs=("image_embeddings",)`, and give the column: `kzoo.data.pairs(source, preprocessor,
        columns=("labels",))`.

    Returns:
        float32 scalar; 0 when no row has a candidate of its label.

    Raises:
        TypeError: a queue without `dim`.

    Recommendations:
        Keeps several clusters of a class apart, where `SupCon` draws them together: for pre-training that should
        transfer to finer classes.

    Example:
        >>> LeaveOneOutKNN(temperature=1.0)(np.eye(3), labels=np.array([0, 0, 1]))
        0.6931

    Reference:
        Feng et al., Rethinking Supervised Pre-training for Better Downstream Transferring, 2021, arXiv 2110.06014;
        written from the paper. The defaults of k and temperature, and rows without a neighbour, are our choice.
    """

    default_inputs = ("view_1",)
    optional_inputs = Loss.optional_inputs | {"labels": "labels"}
    required_inputs = ("labels",)
    shapes = PairwiseLoss.shapes | {"labels": "batch"}
    numbers = PairwiseLoss.numbers | {"labels": "index"}

    def __init__(
        self, k=200, temperature=0.1, queue_size=0, dim=None, block_size=None, seed=None, inputs=None, **kwargs
    ):
        super().__init__(block_size, inputs, **kwargs)
        self.k, self.temperature, self.queue_size = k, check_temperature(temperature), queue_size
        if queue_size:
            add_queue(self, queue_size, dim, seed=seed)
            self.queue_labels = self.add_weight(
                name="queue_labels",
                shape=(queue_size,),
                dtype="int32",
                initializer=keras.initializers.Constant(UNLABELLED),
                trainable=False,
            )

    def pairs(self, batch_size) -> tuple:
        return batch_size, self.queue_size or batch_size

    def negatives(self, batch_size) -> int:
        return self.queue_size or batch_size - 1

    def call(self, a, labels, sample_weight=None, training=False) -> Tensor:
        z, labels = l2_normalize(a), ops.cast(labels, "int32")
        candidates = {"z": z, "labels": labels}
        if self.queue_size:
            candidates = {"z": ops.stop_gradient(self.queue), "labels": ops.convert_to_tensor(self.queue_labels)}

        def neighbours(i, real, rows, columns):
            s = ops.matmul(rows["z"], ops.transpose(columns["z"]))
            j = ops.arange(ops.shape(s)[1], dtype="int32")
            there = columns["labels"] != UNLABELLED if self.queue_size else ops.not_equal(i[:, None], j[None, :])
            s = ops.where(there, s, NEGATIVE)
            same = ops.logical_and(ops.equal(rows["labels"][:, None], columns["labels"][None, :]), there)
            defined = ops.any(same, axis=1)
            near, where = nearest(s, self.k)
            real_ones = near > 0.5 * NEGATIVE
            of_label = ops.logical_and(ops.take_along_axis(same, where, axis=1), real_ones)
            lacks = ops.logical_and(defined, ops.logical_not(ops.any(of_label, axis=1)))[:, None]
            best = ops.max(ops.where(same, s, NEGATIVE), axis=1, keepdims=True)
            z = columns["scale"] * ops.concatenate(
                [ops.where(real_ones, near, 0.0), ops.where(lacks, best, 0.0)], axis=1
            )
            every = masked_log_sum(z, ops.concatenate([real_ones, lacks], axis=1))
            value = every - masked_log_sum(z, ops.concatenate([of_label, lacks], axis=1))
            return {"value": ops.where(defined, value, 0.0), "defined": ops.cast(defined, "float32")}, {}

        columns = candidates | {"scale": resolve_scale(self.temperature)}
        of_rows, _ = by_blocks(neighbours, {"z": z, "labels": labels}, columns, self.block_size)
        if self.queue_size and training:
            of_labels, _ = enqueued(self.queue_labels, self.pointer, labels)  # before the pointer moves
            self.queue_labels.assign(of_labels)
            enqueue(self, z)
        return mean_of_anchors(of_rows["value"], of_rows["defined"], sample_weight)
