"""Distillation of a dual encoder through its similarities, as in open_clip."""

import keras
from keras import ops

from kzoo.layers.numerics import l2_normalize
from kzoo.losses.base import weighted_mean
from kzoo.losses.parts.pairwise import PairwiseLoss, Tile, cross_entropies, mean_of_directions
from kzoo.losses.parts.soft_targets import soft_targets
from kzoo.losses.parts.temperature import check_temperature, resolve_scale
from kzoo.types import Tensor


@keras.saving.register_keras_serializable(package="kzoo")
class LogitDistillation(PairwiseLoss):
    """Each row must rank the other side of the batch as a teacher does.

    With unit rows, `z = <a_i, b_j> / temperature` and `T = softmax_j(<t_a_i, t_b_j> / teacher_temperature)`, without
    gradient: `L_a = (1/B) sum_i [ LSE_j z_ij - sum_j T_ij z_ij ]`, which is the divergence of student and teacher plus
    the teacher's entropy. `L` is the mean of `L_a` and the same on the columns.

    Args:
        temperature: of the student: a float, a `LearnableTemperature`, or None: the similarity head of the model that
            the loss is attached to, 0.07 when called alone.
        teacher_temperature: a positive number, that of the teacher's own head.
        block_size: rows compared at a time, exact and with less memory, or `"auto"`; None: all at once.
        inputs: names of the tensors to read; default `("image_embeddings", "text_embeddings")`.

    Inputs:
        a, b: float tensors `(batch, dim)`; they are normalised.
        teacher_a, teacher_b: float tensors `(batch, teacher_dim)` (`teacher_image_embeddings`,
            `teacher_text_embeddings`); normalised. The length may differ from the student's.
        sample_weight: float tensor `(batch,)`.
        scale: scalar, the model's own `1 / temperature`; read only when `temperature` is None.

    Feeding:
        `kzoo.adaptation.with_teacher(data, teacher)`, of a model, an export or stored embeddings;
        `DualEncoder(image_encoder, text_encoder, teacher=kzoo.training.FixedTeacher(another))`, of the same batches, or
        `EMATeacher` in its place.

    Returns:
        float32 scalar; the teacher's entropy where student and teacher agree, never less.

    Raises:
        ValueError: bad temperature.

    Recommendations:
        Next to `InfoNCE`: `InfoNCE() + LogitDistillation()`. Where student and teacher have embeddings of one length,
        `EmbeddingDistillation` also works on small batches.

    Example:
        >>> LogitDistillation(1.0, 1.0)(np.eye(2), np.eye(2), teacher_a=np.eye(2), teacher_b=np.eye(2))
        0.5822

    Reference:
        The distillation of the open_clip library (Ilharco et al., 2021), after Hinton et al., Distilling the Knowledge
        in a Neural Network, 2015, arXiv 1503.02531; as affinity mimicking: Wu et al., TinyCLIP, 2023, arXiv 2309.12314.
    """

    optional_inputs = PairwiseLoss.optional_inputs | {
        "teacher_a": "teacher_image_embeddings",
        "teacher_b": "teacher_text_embeddings",
        "scale": "logit_scale",
    }
    required_inputs = ("teacher_a", "teacher_b")
    shapes = PairwiseLoss.shapes | {"teacher_a": "batch teacher_dim", "teacher_b": "batch teacher_dim"}

    def __init__(self, temperature=None, teacher_temperature=0.07, block_size=None, inputs=None, **kwargs):
        super().__init__(block_size, inputs, **kwargs)
        self.temperature = check_temperature(temperature)
        self.teacher_temperature = check_temperature(teacher_temperature)

    def call(self, a, b, teacher_a, teacher_b, sample_weight=None, scale=None) -> Tensor:
        a, b, teacher_a, teacher_b = (l2_normalize(each) for each in (a, b, teacher_a, teacher_b))
        scale = resolve_scale(self.temperature, scale)
        # a teacher's column is not whole in a block of rows: the other direction is a call of its own
        of_a = self._one_side(a, b, teacher_a, teacher_b, scale)
        of_b = self._one_side(b, a, teacher_b, teacher_a, scale)
        return weighted_mean(mean_of_directions(of_a, of_b), sample_weight)

    def _one_side(self, x, y, teacher_x, teacher_y, scale):
        rows = {"x": scale * x, "teacher": ops.stop_gradient(teacher_x) / self.teacher_temperature}
        columns = {"y": y, "teacher": ops.stop_gradient(teacher_y)}

        def tile(i, j, rows, columns):
            z = ops.matmul(rows["x"], ops.transpose(columns["y"]))
            opinion = ops.matmul(rows["teacher"], ops.transpose(columns["teacher"]))
            return Tile(z, soft_targets(opinion))

        return cross_entropies(tile, rows, columns, block_size=self.block_size)[0]
