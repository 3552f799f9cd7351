"""Distillation of a dual encoder through its embeddings, inspired by DCLIP."""

import keras
from keras import ops

from kzoo.arguments import SHARE
from kzoo.losses.base import weighted_mean
from kzoo.losses.image_text.info_nce import InfoNCE
from kzoo.losses.parts.candidates import paired_cosines
from kzoo.losses.parts.pairwise import PairwiseLoss
from kzoo.losses.parts.temperature import check_temperature, resolve_scale
from kzoo.types import Tensor


@keras.saving.register_keras_serializable(package="kzoo")
class EmbeddingDistillation(PairwiseLoss):
    """InfoNCE of the pairs, blended with the distance of each embedding to that of a teacher.

    `L = (1 - alpha) InfoNCE(a, b) + alpha [ mean(1 - cos(a, t_a)) + mean(1 - cos(b, t_b)) ] / 2`, without gradient for
    the teacher. The weights are our choice. DCLIP's released code adds a contrast at temperature 0.05 and the distances
    of both modalities, which is `3.0 * EmbeddingDistillation(0.05, alpha=2 / 3)`; its teacher, which attends between
    regions of a picture and spans of its text, is not here.

    Args:
        temperature: of `InfoNCE`: a float, a `LearnableTemperature`, or None: the similarity head of the model that
            the loss is attached to, 0.07 when called alone.
        alpha: share of the teacher, in [0, 1].
        block_size: rows compared at a time, exact and with less memory, or `"auto"`; None: all at once.
        inputs: names of the tensors to read; default `("image_embeddings", "text_embeddings")`.

    Inputs:
        a, b: float tensors `(batch, dim)`; normalised, as all others.
        teacher_a, teacher_b: float tensors `(batch, dim)` (`teacher_image_embeddings`, `teacher_text_embeddings`).
        sample_weight: float tensor `(batch,)`; a row of weight 0 still serves as a negative.
        scale: scalar, the model's own `1 / temperature`; read only when `temperature` is None.

    Feeding:
        `kzoo.adaptation.with_teacher(data, teacher)`, of a model, an export or stored embeddings;
        `DualEncoder(image_encoder, text_encoder, teacher=kzoo.training.FixedTeacher(another))`, of the same batches, or
        `EMATeacher` in its place.

    Returns:
        float32 scalar; `1 - alpha` times `InfoNCE` where student and teacher agree.

    Raises:
        ValueError: `alpha` is not in [0, 1], bad temperature, the teacher's embeddings have another length.

    Recommendations:
        For a teacher of another length, or to learn from how it ranks the batch: `LogitDistillation`.

    Example:
        >>> EmbeddingDistillation(1.0)(np.eye(2), np.eye(2), teacher_a=np.eye(2), teacher_b=np.eye(2))
        0.1566

    Reference:
        Inspired by Csizmadia et al., Distill CLIP (DCLIP), 2025, arXiv 2505.21549.
    """

    optional_inputs = PairwiseLoss.optional_inputs | {
        "teacher_a": "teacher_image_embeddings",
        "teacher_b": "teacher_text_embeddings",
        "scale": "logit_scale",
    }
    required_inputs = ("teacher_a", "teacher_b")
    shapes = PairwiseLoss.shapes | {"teacher_a": "batch _", "teacher_b": "batch _"}
    arguments = {"alpha": SHARE}

    def __init__(self, temperature=None, alpha=0.5, block_size=None, inputs=None, **kwargs):
        super().__init__(block_size, inputs, **kwargs)
        self.temperature, self.alpha = check_temperature(temperature), alpha
        self.contrast = InfoNCE(block_size=block_size)

    def call(self, a, b, teacher_a, teacher_b, sample_weight=None, scale=None) -> Tensor:
        distances = []
        for x, teacher in ((a, teacher_a), (b, teacher_b)):
            if x.shape[-1] != teacher.shape[-1]:
                raise ValueError(
                    f"the teacher's embeddings have length {teacher.shape[-1]} and the student's {x.shape[-1]}; "
                    "project one of them, or take LogitDistillation."
                )
            cosine = paired_cosines(x, ops.stop_gradient(teacher))
            distances.append(weighted_mean(1.0 - cosine, sample_weight))
        contrast = self.contrast(a, b, sample_weight=sample_weight, scale=resolve_scale(self.temperature, scale))
        return (1.0 - self.alpha) * contrast + self.alpha * 0.5 * sum(distances)
