"""DINO, self-distillation between views."""

import keras
from keras import ops

from kzoo.arguments import FUNCTION, POSITIVE
from kzoo.losses.base import Loss, weighted_mean
from kzoo.losses.parts.temperature import LearnableTemperature, check_temperature, resolve_scale
from kzoo.losses.parts.views import pairs_of_views
from kzoo.types import Tensor


@keras.saving.register_keras_serializable(package="kzoo")
class DINO(Loss):
    """The student's distribution over prototypes for one view should be the teacher's for another.

    `P = softmax((teacher - c) / teacher_temperature)` and
    `L = mean over view pairs u != v, rows of - sum_k P_uk log softmax(student_v / student_temperature)_k`. After it the
    centre moves towards the teacher's mean logits, `c <- m c + (1 - m) mean(teacher)`, so that no prototype wins
    everywhere.

    Args:
        dim: number of prototypes, the width of both heads.
        student_temperature: a float or a `LearnableTemperature`.
        teacher_temperature: a float, or a schedule: a function of the training step. The paper warms it up from 0.04
            to 0.07.
        center_momentum: `m` above.
        inputs: names of the tensors to read; default `("student", "teacher")`.

    Inputs:
        student: float tensor `(views, batch, dim)`, logits of the student's head, the global views first.
        teacher: float tensor `(global views, batch, dim)`, logits of the teacher's; no gradient goes to them.
        sample_weight: float tensor `(batch,)`.

    Feeding:
        `SelfSupervised(encoder, Projector((256, 64), batch_norm=False, prototypes=dim),
        teacher=kzoo.training.EMATeacher(0.996))` and `kzoo.data.views(images, steps, local_views=6, local_size=96)`.

    Returns:
        float32 scalar, `ln(dim)` where student and centred teacher are constant.

    Raises:
        ValueError: heads that are not `dim` wide; no pair of different views.

    Recommendations:
        With a teacher that is a slow average of the student, and crops of two sizes. `SimDINO` has neither
        prototypes nor centre to tune.

    Example:
        >>> DINO(dim=4)(np.zeros((2, 3, 4)), np.zeros((2, 3, 4)))
        1.3863

    Reference:
        Caron et al., Emerging Properties in Self-Supervised Vision Transformers, 2021, arXiv 2104.14294.
    """

    default_inputs = ("student", "teacher")
    shapes = Loss.shapes | {"student": "views batch dim", "teacher": "global_views batch dim"}
    arguments = {"teacher_temperature": POSITIVE | FUNCTION.said("a schedule: a function of the training step")}

    def __init__(
        self,
        dim=65536,
        student_temperature=0.1,
        teacher_temperature=0.04,
        center_momentum=0.9,
        inputs=None,
        **kwargs,
    ):
        super().__init__(inputs=inputs, **kwargs)
        self.dim, self.center_momentum = dim, center_momentum
        self.student_temperature, self.teacher_temperature = check_temperature(student_temperature), teacher_temperature
        self.center = self.add_weight(name="center", shape=(dim,), initializer="zeros", trainable=False)
        self.step = None
        if callable(teacher_temperature) and not isinstance(teacher_temperature, LearnableTemperature):
            self.step = self.add_weight(name="step", shape=(), dtype="int32", initializer="zeros", trainable=False)

    def call(self, student, teacher, sample_weight=None, training=False) -> Tensor:
        log_p, target = self.log_student(student), self.target(teacher)
        pairs = pairs_of_views(self, student, teacher)
        agreement = ops.einsum("ubk,vbk->buv", target, log_p)
        per_row = -ops.sum(pairs * agreement, axis=(1, 2))
        if training:
            self.move_center(ops.mean(ops.cast(teacher, "float32"), axis=(0, 1)))
        return weighted_mean(per_row, sample_weight)

    def log_student(self, student) -> Tensor:
        """`log softmax(student / student_temperature)`."""
        if student.shape[-1] != self.dim:
            raise ValueError(
                f"{type(self).__name__} has dim={self.dim} prototypes, but received heads {student.shape[-1]} wide; "
                f"give the loss dim={student.shape[-1]}."
            )
        return ops.log_softmax(ops.cast(student, "float32") * resolve_scale(self.student_temperature), axis=-1)

    def target(self, teacher) -> Tensor:
        """`P`, centred and sharpened, without gradient."""
        if self.step is None:
            scale = resolve_scale(self.teacher_temperature)
        else:
            scale = 1.0 / ops.cast(self.teacher_temperature(ops.convert_to_tensor(self.step)), "float32")
        return ops.stop_gradient(ops.softmax(scale * (ops.cast(teacher, "float32") - self.center), axis=-1))

    def move_center(self, mean) -> None:
        m = self.center_momentum
        self.center.assign(m * self.center + (1.0 - m) * ops.stop_gradient(mean))
        if self.step is not None:
            self.step.assign_add(1)
