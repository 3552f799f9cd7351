"""RehearsalSupCon, the distillation of COCONUT for continual learning."""

import keras
from keras import ops

from kzoo.layers.numerics import l2_normalize
from kzoo.losses.parts.anchors import mean_of_anchors
from kzoo.losses.parts.pairwise import PairwiseLoss, Tile, cross_entropies, same
from kzoo.losses.parts.temperature import check_temperature, resolve_scale
from kzoo.types import Tensor


@keras.saving.register_keras_serializable(package="kzoo")
class RehearsalSupCon(PairwiseLoss):
    """Each rehearsed row stays near what the old model made of its class, away from the new model's whole batch.

    With unit rows `S` of the student and `T` of the teacher, for `k` in the rehearsed rows `R` and
    `P(k) = {p in R: y_p = y_k}`, which holds k itself:
    `L_k = - (1/|P(k)|) sum_(p in P(k)) [ S_k T_p / t - LSE_(i != k) S_k S_i / t ]`, and the mean over k.
    Written from the paper alone: that the denominator leaves out k and the teacher's row is our reading.

    Args:
        temperature: `t`, a float or a `LearnableTemperature`.
        block_size: rows compared at a time, exact and with less memory, or `"auto"`; None: all at once.
        inputs: names of the tensors to read; default `("view_1", "teacher_view_1")`.

    Inputs:
        student, teacher: float tensors `(batch, dim)`; they are normalised. No gradient goes to the teacher.
        labels: int tensor `(batch,)`, the classes.
        rehearsal: tensor `(batch,)`, 1 where a row comes from the rehearsal buffer, else 0.
        sample_weight: float tensor `(batch,)`, weighs the rehearsed rows.

    Feeding:
        `SelfSupervised(encoder, teacher=kzoo.training.FixedTeacher(old_model))`, an old model of the same form, and
        `kzoo.data.views({"images": images, "labels": labels, "rehearsal": rehearsal}, steps, views=1)`.

    Returns:
        float32 scalar, 0 when no row is rehearsed. It can be negative.

    Raises:
        ValueError: bad temperature; attached to a batch without labels or rehearsal.

    Recommendations:
        For new tasks on top of old ones, beside the loss of the task. Without a buffer of old rows distil the
        whole batch instead.

    Example:
        >>> rows, labels = np.eye(4), np.array([0, 1, 2, 3])
        >>> RehearsalSupCon(temperature=1.0)(rows, rows, labels=labels, rehearsal=np.array([1, 1, 0, 0]))
        0.0986

    Reference:
        Cappellazzo et al., Continual Contrastive Spoken Language Understanding (COCONUT), 2023, arXiv 2310.02699.
    """

    default_inputs = ("view_1", "teacher_view_1")
    optional_inputs = PairwiseLoss.optional_inputs | {"labels": "labels", "rehearsal": "rehearsal"}
    required_inputs = ("labels", "rehearsal")
    shapes = PairwiseLoss.shapes | {
        "student": "batch dim",
        "teacher": "batch dim",
        "labels": "batch",
        "rehearsal": "batch",
    }
    numbers = PairwiseLoss.numbers | {"labels": "id", "rehearsal": "flag"}

    def __init__(self, temperature=0.1, block_size=None, inputs=None, **kwargs):
        super().__init__(block_size, inputs, **kwargs)
        self.temperature = check_temperature(temperature)

    def pairs(self, batch_size) -> tuple:
        return batch_size, 2 * batch_size

    def negatives(self, batch_size) -> int:
        return batch_size - 1

    def call(self, student, teacher, labels, rehearsal, sample_weight=None) -> Tensor:
        batch = ops.shape(student)[0]
        rehearsed = ops.cast(rehearsal, "float32")

        def tile(i, j, rows, columns):
            z = ops.matmul(columns["scale"] * rows["student"], ops.transpose(columns["both"]))
            positive = same(rows["labels"], columns["labels"]) * columns["rehearsed"][None, :]
            positive = positive / ops.maximum(ops.sum(positive, axis=1, keepdims=True), 1.0)
            target = ops.concatenate([ops.zeros_like(positive), positive], axis=1)
            keep = ops.logical_and(j < batch, ops.not_equal(i[:, None], j[None, :]))
            return Tile(z, target, keep=keep)

        student, teacher = l2_normalize(student), ops.stop_gradient(l2_normalize(teacher))
        columns = {"both": ops.concatenate([student, teacher], axis=0), "scale": resolve_scale(self.temperature)}
        columns |= {"labels": labels, "rehearsed": rehearsed}
        per_row, _ = cross_entropies(tile, {"student": student, "labels": labels}, columns, "a_to_b", self.block_size)
        return mean_of_anchors(per_row, rehearsed, sample_weight)
