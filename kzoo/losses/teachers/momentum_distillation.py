"""ALBEF's image-text contrast: a momentum teacher, queues, and its opinion as soft targets."""

import keras
from keras import ops

from kzoo.arguments import SHARE
from kzoo.layers.numerics import l2_normalize
from kzoo.losses.base import weighted_mean
from kzoo.losses.parts.pairwise import PairwiseLoss, Tile, cross_entropies, mean_of_directions, same
from kzoo.losses.parts.soft_targets import soft_targets
from kzoo.losses.parts.temperature import check_temperature, resolve_scale
from kzoo.types import Tensor


@keras.saving.register_keras_serializable(package="kzoo")
class MomentumDistillation(PairwiseLoss):
    """Each row must find its partner among the keys of a momentum teacher, which has a say in what is right.

    With unit rows, keys `k = [b_momentum; b_queue]` without gradient and `z_ij = <a_i, k_j> / temperature`:
    `L_a = (1/B) sum_i [ LSE_j z_ij - sum_j T_ij z_ij ]` with
    `T_ij = alpha softmax_j(<a_momentum_i, k_j> / temperature) + (1 - alpha) [ids equal] / count`. `L` is the mean of
    `L_a` and the same with the roles of `a` and `b` swapped.

    Args:
        temperature: of student and teacher: a float, a `LearnableTemperature`, or None: the similarity head of the
            model that the loss is attached to, 0.07 when called alone.
        alpha: share of the teacher's opinion, in [0, 1].
        block_size: rows compared at a time, exact and with less memory, or `"auto"`; None: all at once.
        inputs: names of the tensors to read; default `("image_embeddings", "text_embeddings")`.

    Inputs:
        a, b: float tensors `(batch, dim)`; normalised, as all others.
        a_momentum, b_momentum: float tensors `(batch, dim)` (`teacher_image_embeddings`, `teacher_text_embeddings`),
            the same pairs by a moving average of the model.
        a_queue, b_queue: float tensors `(queue, dim)`, what `a_momentum` and `b_momentum` were in earlier steps; the
            caller adds the batch after the loss was computed. Default none.
        ids: int tensor `(batch,)`, equal where pairs belong together; default all different.
        queue_ids: int tensor `(queue,)`, ids of the queues; default none of the batch.
        sample_weight: float tensor `(batch,)`.
        scale: scalar, the model's own `1 / temperature`; read only when `temperature` is None.

    Feeding:
        `DualEncoder(..., teacher=kzoo.training.EMATeacher(0.995))`, on any pairs; `ids` are a column, such as the
        number of the picture. A queue that stays as it is: `constants={"a_queue": ..., "b_queue": ...}`.

    Returns:
        float32 scalar; `InfoNCE` where `alpha` is 0, no ids are equal, the queue is empty and teacher and student are
        the same.

    Raises:
        ValueError: `alpha` is not in [0, 1], bad temperature, only one queue, `queue_ids` without `ids` and queues.

    Recommendations:
        The loss is linear in `alpha`, so the authors' ramp from 0 to 0.4 in the first epoch is a sum with a schedule:
        `MomentumDistillation(alpha=0.0) * (lambda step: 1 - ramp(step)) + MomentumDistillation(alpha=1.0) * ramp`.
        They take queues of 65,536 and a momentum of 0.995. Without a teacher: `InfoNCE`.

    Example:
        >>> MomentumDistillation(1.0)(np.eye(2), np.eye(2), a_momentum=np.eye(2), b_momentum=np.eye(2))
        0.4208

    Reference:
        Li et al., Align before Fuse (ALBEF), 2021, arXiv 2107.07651.
    """

    optional_inputs = PairwiseLoss.optional_inputs | {
        "a_momentum": "teacher_image_embeddings",
        "b_momentum": "teacher_text_embeddings",
        "a_queue": "a_queue",
        "b_queue": "b_queue",
        "ids": "ids",
        "queue_ids": "queue_ids",
        "scale": "logit_scale",
    }
    required_inputs = ("a_momentum", "b_momentum")
    shapes = PairwiseLoss.shapes | {
        "a_momentum": "batch dim",
        "b_momentum": "batch dim",
        "a_queue": "queue dim",
        "b_queue": "queue dim",
        "ids": "batch",
        "queue_ids": "queue",
    }
    numbers = PairwiseLoss.numbers | {"ids": "id", "queue_ids": "id"}
    arguments = {"alpha": SHARE}

    def __init__(self, temperature=None, alpha=0.4, block_size=None, inputs=None, **kwargs):
        super().__init__(block_size, inputs, **kwargs)
        self.temperature, self.alpha = check_temperature(temperature), alpha

    def call(
        self,
        a,
        b,
        a_momentum,
        b_momentum,
        a_queue=None,
        b_queue=None,
        ids=None,
        queue_ids=None,
        sample_weight=None,
        scale=None,
    ) -> Tensor:
        if (a_queue is None) != (b_queue is None):
            raise ValueError("a queue came for one side only; give a_queue and b_queue, or neither.")
        if queue_ids is not None and (ids is None or a_queue is None):
            raise ValueError("queue_ids came without ids and queues; give ids, a_queue and b_queue with them.")
        a, b, a_momentum, b_momentum = (l2_normalize(each) for each in (a, b, a_momentum, b_momentum))
        scale = resolve_scale(self.temperature, scale)
        ids = ops.arange(ops.shape(a)[0], dtype="int32") if ids is None else ops.convert_to_tensor(ids)
        of_a = self._one_side(a, a_momentum, b_momentum, b_queue, ids, queue_ids, scale)
        of_b = self._one_side(b, b_momentum, a_momentum, a_queue, ids, queue_ids, scale)
        return weighted_mean(mean_of_directions(of_a, of_b), sample_weight)

    def _one_side(self, x, teacher, keys, queue, ids, queue_ids, scale):
        known = ops.ones_like(ids, dtype="bool")  # whether the id of a column is known
        all_ids = ids
        if queue is not None:
            keys = ops.concatenate([keys, l2_normalize(queue)])
            ids_of_queue = ops.zeros(ops.shape(queue)[:1], ids.dtype) if queue_ids is None else queue_ids
            all_ids = ops.concatenate([ids, ops.cast(ids_of_queue, ids.dtype)])
            known = ops.concatenate([known, ops.full(ops.shape(queue)[:1], queue_ids is not None, dtype="bool")])
        rows = {"x": x, "teacher": ops.stop_gradient(teacher), "ids": ids}
        columns = {"keys": ops.stop_gradient(keys), "ids": all_ids, "known": known, "scale": scale}

        def tile(i, j, rows, columns):
            z = ops.matmul(columns["scale"] * rows["x"], ops.transpose(columns["keys"]))  # (rows, batch + queue)
            hard = ops.where(columns["known"], same(rows["ids"], columns["ids"]), 0.0)
            hard = hard / ops.maximum(ops.sum(hard, axis=1, keepdims=True), 1.0)
            opinion = ops.matmul(columns["scale"] * rows["teacher"], ops.transpose(columns["keys"]))
            soft = soft_targets(opinion)
            return Tile(z, self.alpha * soft + (1.0 - self.alpha) * hard)

        return cross_entropies(tile, rows, columns, block_size=self.block_size)[0]
