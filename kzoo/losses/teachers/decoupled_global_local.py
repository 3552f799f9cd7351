"""DeGLA: hard negatives for the details, self-distillation for what the model knew before."""

import keras
from keras import ops

from kzoo.arguments import one_of
from kzoo.layers.numerics import l2_normalize
from kzoo.losses.image_text.hard_negative_contrastive import HardNegativeContrastive
from kzoo.losses.image_text.image_grounded_contrast import ImageGroundedContrast
from kzoo.losses.parts.pairwise import PairwiseLoss
from kzoo.losses.parts.temperature import check_temperature, resolve_scale
from kzoo.losses.teachers.text_grounded_contrast import TextGroundedContrast
from kzoo.types import Tensor

REDUCTIONS = ("sum", "mean")


@keras.saving.register_keras_serializable(package="kzoo")
class DecoupledGlobalLocal(PairwiseLoss):
    """Hard-negative training that holds on to a teacher, so that details are learned and nothing is forgotten.

    `L = HardNegativeContrastive(a, b, n) + w_t TextGroundedContrast(b, t_b, n) + w_i ImageGroundedContrast(a, b, n)
    + w_d D`, with `D = sum ||a - t_a||^2 + sum ||b - t_b||^2 + sum ||n - t_n||^2` over unit vectors and their
    teacher's, without gradient for the teacher.

    Args:
        temperature: of the terms that have no scale of their own: a float, a `LearnableTemperature`, or None: the
            similarity head of the model that the loss is attached to, 0.07 when called alone.
        text_weight, image_weight, distill_weight: `w_t`, `w_i` and `w_d` above.
        text_scale: fixed scale of `TextGroundedContrast`.
        distill_reduction: `"sum"` over the batch, as released, so that the share of `D` grows with the batch; `"mean"`
            over the numbers of each of its three parts, which does not.
        block_size: rows compared at a time, exact and with less memory, or `"auto"`; None: all at once.
        inputs: names of the tensors to read; default `("image_embeddings", "text_embeddings")`.

    Inputs:
        a, b: float tensors `(batch, dim)`; normalised, as all others.
        negatives: float tensor `(batch, count, dim)`, hard negatives of the captions.
        teacher_a, teacher_b: float tensors `(batch, dim)` (`teacher_image_embeddings`, `teacher_text_embeddings`),
            the pairs as a teacher embeds them: the authors take a moving average of the model.
        teacher_negatives: float tensor `(batch, count, dim)`, the hard negatives by the teacher.
        sample_weight: float tensor `(batch,)`; in a sum it multiplies the squares of its row.
        scale: scalar, the model's own `1 / temperature`; read only when `temperature` is None.

    Feeding:
        `DualEncoder(..., teacher=kzoo.training.EMATeacher(0.999))` and `kzoo.data.pairs(source, preprocessor)` with a
        column or an entry `negatives`, a list of texts for each pair: they are the bag `negative_token_ids`, which the
        text tower and the teacher's read.

    Returns:
        float32 scalar.

    Raises:
        ValueError: unknown reduction, bad temperature, `negatives` is not `(batch, count, dim)`.

    Recommendations:
        To fine-tune a trained model on compositional captions. Without a teacher: `HardNegativeContrastive`.

    Example:
        >>> a, n = np.eye(2), np.eye(2)[:, None]
        >>> DecoupledGlobalLocal()(a, a, negatives=n, teacher_a=a, teacher_b=a, teacher_negatives=n)
        0.4852

    Reference:
        Decoupled Global-Local Alignment (DeGLA), 2025, arXiv 2504.16801. Each caption meets its own negatives in
        `TextGroundedContrast`, see there.
    """

    optional_inputs = PairwiseLoss.optional_inputs | {
        "negatives": "negative_text_embeddings",
        "teacher_a": "teacher_image_embeddings",
        "teacher_b": "teacher_text_embeddings",
        "teacher_negatives": "teacher_negative_text_embeddings",
        "scale": "logit_scale",
    }
    required_inputs = ("negatives", "teacher_a", "teacher_b", "teacher_negatives")
    shapes = PairwiseLoss.shapes | {
        "negatives": "batch count dim",
        "teacher_a": "batch dim",
        "teacher_b": "batch dim",
        "teacher_negatives": "batch count dim",
    }
    arguments = {"distill_reduction": one_of(*REDUCTIONS)}

    def __init__(
        self,
        temperature=None,
        text_weight=0.1,
        image_weight=0.1,
        distill_weight=0.005,
        text_scale=10.0,
        distill_reduction="sum",
        block_size=None,
        inputs=None,
        **kwargs,
    ):
        super().__init__(block_size, inputs, **kwargs)
        self.temperature, self.distill_reduction = check_temperature(temperature), distill_reduction
        self.text_weight, self.image_weight, self.distill_weight = text_weight, image_weight, distill_weight
        self.hard_negatives = HardNegativeContrastive(block_size=block_size)
        self.text_grounded = TextGroundedContrast(text_scale)
        self.image_grounded = ImageGroundedContrast()

    def call(self, a, b, negatives, teacher_a, teacher_b, teacher_negatives, sample_weight=None, scale=None) -> Tensor:
        given = {"negatives": negatives, "sample_weight": sample_weight}
        head = given | {"scale": resolve_scale(self.temperature, scale)}
        contrast = (
            self.hard_negatives(a, b, **head)
            + self.text_weight * self.text_grounded(b, teacher_b, **given)
            + self.image_weight * self.image_grounded(a, b, **head)
        )
        of_teachers = [(a, teacher_a), (b, teacher_b), (negatives, teacher_negatives)]
        return contrast + self.distill_weight * sum(self._distance(*pair, sample_weight) for pair in of_teachers)

    def _distance(self, x, teacher, sample_weight):
        squares = ops.square(l2_normalize(x) - l2_normalize(ops.stop_gradient(teacher)))
        weight = ops.ones(ops.shape(x)[:1]) if sample_weight is None else ops.cast(sample_weight, "float32")
        weight = ops.reshape(weight, (-1,) + (1,) * (len(x.shape) - 1)) * ops.ones_like(squares)
        total = ops.sum(weight * squares)
        return total if self.distill_reduction == "sum" else total / ops.maximum(ops.sum(weight), 1e-12)
