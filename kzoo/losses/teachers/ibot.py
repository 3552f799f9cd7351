"""iBOT, self-distillation of masked patches."""

import keras
from keras import ops

from kzoo.losses.base import weighted_mean
from kzoo.losses.teachers.dino import DINO
from kzoo.types import Tensor


@keras.saving.register_keras_serializable(package="kzoo")
class IBOT(DINO):
    """For each patch hidden from the student, its distribution should be the teacher's, who sees the patch.

    With `P` and the student's `log p` as in `DINO`, over the masked patches of each image:
    `L = mean_i (1/|M_i|) sum_(n in M_i) - sum_k P_ink log p_ink`; an image without masked patches counts as 0. The
    centre then moves towards the teacher's mean logits at the masked patches of the batch.

    Args:
        dim: number of prototypes, the width of both heads.
        student_temperature: a float or a `LearnableTemperature`.
        teacher_temperature: a float, or a schedule: a function of the training step.
        center_momentum: how much of the centre stays.
        inputs: names of the tensors to read; default `("view_1_token_logits", "teacher_view_1_token_logits")`.

    Inputs:
        student, teacher: float tensors `(batch, patches, dim)`, logits of the heads; no gradient goes to the teacher.
        mask: tensor `(batch, patches)`, 1 or True where the student's patch was masked.
        sample_weight: float tensor `(batch,)`.

    Feeding:
        `SelfSupervised(encoder, teacher=kzoo.training.EMATeacher(0.996), heads=[Head(TokenProjector(64, skip=1),
        "*_tokens", "*_patches"), Head(Projector((256, 64), batch_norm=False, prototypes=dim), "*_patches",
        "*_token_logits")])`, an encoder with a mask token, and `kzoo.data.views(images, steps, masks={"view_1":
        BlockPatches(grid)})`. `skip` leaves out the class token of a ViT.

    Returns:
        float32 scalar, 0 when nothing is masked; the centre then stays where it is.

    Raises:
        ValueError: heads that are not `dim` wide; attached to a batch without a mask.

    Recommendations:
        Beside `DINO` on the class token, on the same pass. To predict pixels instead take `MaskedImageModelling`.

    Example:
        >>> IBOT(dim=4)(np.zeros((2, 3, 4)), np.zeros((2, 3, 4)), mask=np.ones((2, 3)))
        1.3863

    Reference:
        Zhou et al., iBOT: Image BERT Pre-Training with Online Tokenizer, 2021, arXiv 2111.07832.
    """

    default_inputs = ("view_1_token_logits", "teacher_view_1_token_logits")
    optional_inputs = DINO.optional_inputs | {"mask": "view_1_masked"}
    required_inputs = ("mask",)
    shapes = DINO.shapes | {"student": "batch patches dim", "teacher": "batch patches dim", "mask": "batch patches"}

    def __init__(
        self,
        dim=8192,
        student_temperature=0.1,
        teacher_temperature=0.04,
        center_momentum=0.9,
        inputs=None,
        **kwargs,
    ):
        super().__init__(dim, student_temperature, teacher_temperature, center_momentum, inputs, **kwargs)

    def call(self, student, teacher, mask, sample_weight=None, training=False) -> Tensor:
        mask = ops.cast(mask, "float32")
        per_patch = -ops.sum(self.target(teacher) * self.log_student(student), axis=-1)  # (batch, patches)
        per_image = ops.sum(mask * per_patch, axis=1) / ops.maximum(ops.sum(mask, axis=1), 1.0)
        if training:
            masked = ops.sum(mask)
            mean = ops.einsum("bn,bnk->k", mask, ops.cast(teacher, "float32")) / ops.maximum(masked, 1.0)
            self.move_center(ops.where(masked > 0.0, mean, ops.convert_to_tensor(self.center)))
        return weighted_mean(per_image, sample_weight)
