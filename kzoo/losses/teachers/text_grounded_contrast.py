"""The text's side of DeGLA: a caption stays near its teacher's embedding, away from rewritten versions."""

import keras
from keras import ops

from kzoo.losses.base import Loss, weighted_mean
from kzoo.losses.parts.own_negatives import choice_among_own
from kzoo.types import Tensor


@keras.saving.register_keras_serializable(package="kzoo")
class TextGroundedContrast(Loss):
    """Each caption must be nearer to its teacher's embedding than to its own hard negatives.

    With unit rows and `z = scale <b_i, .>`: `L = (1/B) sum_i [ LSE(z of t_i, n_i1 ... n_iN) - z of t_i ]`, where `t_i`
    is the teacher's embedding of caption i, without gradient.

    Args:
        scale: fixed `1 / temperature`, not the one that the model learns.
        inputs: names of the tensors to read; default `("text_embeddings", "teacher_text_embeddings")`.

    Inputs:
        b: float tensor `(batch, dim)`; normalised, as the others.
        teacher_b: float tensor `(batch, dim)`, captions as a teacher embeds them, such as a moving average of the
            model.
        negatives: float tensor `(batch, count, dim)`, captions that are nearly those of `b` but mean something else.
        mask: bool tensor `(batch, count)` (`negatives_mask` of the batch), True where a negative is there.
        sample_weight: float tensor `(batch,)`.

    Feeding:
        `DualEncoder(..., teacher=kzoo.training.EMATeacher(0.999))` and `kzoo.data.pairs(source, preprocessor)` with a
        column or an entry `negatives`, a list of texts for each pair: they are the bag `negative_token_ids`, which the
        text tower reads.

    Returns:
        float32 scalar; 0 without negatives, `ln(1 + count)` when all candidates are equal.

    Raises:
        ValueError: `negatives` is not `(batch, count, dim)`; `scale` is not positive.

    Recommendations:
        A part of `DecoupledGlobalLocal`. A caption meets its own negatives only; the authors' release mixes those of
        different captions up, which we took for an oversight.

    Example:
        >>> TextGroundedContrast()(np.eye(2), np.eye(2), negatives=np.eye(2)[:, None])
        0.6931

    Reference:
        Decoupled Global-Local Alignment (DeGLA), 2025, arXiv 2504.16801.
    """

    default_inputs = ("text_embeddings", "teacher_text_embeddings")
    optional_inputs = Loss.optional_inputs | {"negatives": "negative_text_embeddings", "mask": "negatives_mask"}
    required_inputs = ("negatives",)
    shapes = Loss.shapes | {
        "b": "batch dim",
        "teacher_b": "batch dim",
        "negatives": "batch count dim",
        "mask": "batch count",
    }

    def __init__(self, scale=10.0, inputs=None, **kwargs):
        super().__init__(inputs=inputs, **kwargs)
        self.scale = scale

    def negatives(self, batch_size) -> int:
        return 1  # at least; how many, only the batch says

    def call(self, b, teacher_b, negatives, mask=None, sample_weight=None) -> Tensor:
        per_row = choice_among_own(b, ops.stop_gradient(teacher_b), negatives, self.scale, mask)
        return weighted_mean(per_row, sample_weight)
