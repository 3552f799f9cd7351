"""SimDINO, self-distillation without prototypes."""

import keras
from keras import ops

from kzoo.layers.numerics import l2_normalize
from kzoo.losses.base import Loss
from kzoo.losses.parts.views import pairs_of_views
from kzoo.types import Tensor


@keras.saving.register_keras_serializable(package="kzoo")
class SimDINO(Loss):
    """The student's view points where the teacher's other view does, while the coding rate keeps the batch spread out.

    With unit rows, `n` of them, `d` dimensions: `L = - coefficient mean_(u != v) cos(teacher_u, student_v)`
    `- (d + n) / (2 d n) mean_u log det(I + d / (n eps) W_u^T W_u)`, `W_u = (student_u + teacher_u) / 2` over the global
    views u.

    Args:
        coefficient: weight of the agreement.
        eps: squared distortion of the coding rate.
        inputs: names of the tensors to read; default `("student", "teacher")`.

    Inputs:
        student: float tensor `(views, batch, dim)`, the global views first; normalised.
        teacher: float tensor `(global views, batch, dim)`; normalised, no gradient goes to it. The coding rate is
            one of the whole batch, so there is no `sample_weight`.

    Feeding:
        `SelfSupervised(encoder, Projector((512, 256)), teacher=kzoo.training.EMATeacher(0.996))` and
        `kzoo.data.views(images, steps, local_views=6, local_size=96)`.

    Returns:
        float32 scalar, usually negative.

    Raises:
        ValueError: no pair of different views.

    Recommendations:
        Instead of `DINO` where its centre and temperatures collapse or need tuning; `dim` is that of the features,
        a few hundred, and the batch should not be much smaller.

    Example:
        >>> SimDINO()(np.stack([np.eye(4)] * 2), np.stack([np.eye(4)] * 2))
        -2.0986

    Reference:
        Wu et al., Simplifying DINO via Coding Rate Regularization, 2025, arXiv 2502.10385.
    """

    default_inputs = ("student", "teacher")
    optional_inputs = {}
    shapes = Loss.shapes | {"student": "views batch dim", "teacher": "global_views batch dim"}

    def __init__(self, coefficient=1.0, eps=0.5, inputs=None, **kwargs):
        super().__init__(inputs=inputs, **kwargs)
        self.coefficient, self.eps = coefficient, eps

    def call(self, student, teacher) -> Tensor:
        pairs = pairs_of_views(self, student, teacher)
        student, teacher = l2_normalize(student), ops.stop_gradient(l2_normalize(teacher))
        n, d = ops.cast(ops.shape(student)[1], "float32"), student.shape[-1]
        cosine = ops.einsum("ubd,vbd->uv", teacher, student) / n
        w = 0.5 * (student[: teacher.shape[0]] + teacher)  # (global views, batch, dim)
        gram = ops.matmul(ops.transpose(w, (0, 2, 1)), w)
        root = ops.cholesky(ops.eye(d, dtype="float32") + d / (n * self.eps) * gram)
        rate = 2.0 * ops.sum(ops.log(ops.diagonal(root, axis1=1, axis2=2)), axis=1)  # log det, (global views,)
        return -self.coefficient * ops.sum(pairs * cosine) - (d + n) / (2.0 * d * n) * ops.mean(rate)
