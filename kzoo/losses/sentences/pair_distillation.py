"""Distillation of the score of a pair: between a cross-encoder and a bi-encoder, or two models of one kind."""

import keras
from keras import ops

from kzoo.arguments import one_of
from kzoo.losses.base import Loss, weighted_mean
from kzoo.losses.parts.candidates import paired_cosines
from kzoo.types import Tensor

MODES = ("bce", "mse")


@keras.saving.register_keras_serializable(package="kzoo")
class PairDistillation(Loss):
    """A model learns the score that another gives to each pair of texts.

    `"bce"`, for a student that gives logits `s` (a cross-encoder) and a teacher that gives cosines, cut to
    `y` in [0, 1]: `L = mean softplus(s) - y s`. `"mse"`: `L = mean (s - y)^2`, where the student's score is its logit
    or, if it gives two embeddings, their cosine. No gradient goes to the teacher.

    Args:
        mode: `"bce"` or `"mse"`.
        inputs: names of the tensors to read: default `("view_1_pair_logits",)`; two names are two embeddings.

    Inputs:
        student: float tensor `(batch,)` or `(batch, 1)`, or with `"mse"` two embeddings `(batch, dim)`, which are
            normalised.
        teacher: float tensor `(batch,)`; for mutual distillation the mean of the scores of several models.
        sample_weight: float tensor `(batch,)`.

    Feeding:
        A cross-encoder reads both texts as one: `SelfSupervised(text_encoder, heads=[Head(Classifier(1), "*_features",
        "*_pair_logits")])` and `kzoo.data.text_views({"texts": joined, "target_scores": scores}, preprocessor,
        views=1)`. A bi-encoder: `PairDistillation("mse", inputs=("view_1", "view_2"))` and
        `kzoo.data.text_pairs(..., columns=("target_scores",))`.

    Returns:
        float32 scalar.

    Raises:
        ValueError: unknown mode, two embeddings with `"bce"`.

    Recommendations:
        Trans-Encoder alternates: `"bce"` from the bi-encoder to the cross-encoder, then `"mse"` back. For whole
        matrices of scores take a distillation of logits.

    Example:
        >>> PairDistillation("mse")(np.array([0.5, 1.0]), teacher=np.array([0.0, 1.0]))
        0.125

    Reference:
        Liu et al., Trans-Encoder, 2021, arXiv 2109.13059. With logits on both sides it is inspired by Barkan et al.,
        Distilled Sentence Embedding, 2019, arXiv 1908.05161, whose pair head belongs to the model.
    """

    default_inputs = ("view_1_pair_logits",)
    input_counts = (1, 2)
    optional_inputs = Loss.optional_inputs | {"teacher": "target_scores"}
    required_inputs = ("teacher",)
    shapes = Loss.shapes | {"student": "batch | batch dim", "teacher": "batch"}
    numbers = Loss.numbers | {"teacher": "number"}
    arguments = {"mode": one_of(*MODES)}

    def __init__(self, mode="bce", inputs=None, **kwargs):
        super().__init__(inputs=inputs, **kwargs)
        self.mode = mode

    def call(self, *student, teacher, sample_weight=None) -> Tensor:
        y = ops.stop_gradient(ops.cast(teacher, "float32"))
        if self.mode == "mse":
            score = paired_cosines(*student) if len(student) == 2 else self._of_pairs(student[0])
            return weighted_mean(ops.square(score - y), sample_weight)
        if len(student) == 2:
            raise ValueError("PairDistillation got two embeddings, whose cosine is no logit; use mode='mse'.")
        s = self._of_pairs(student[0])
        return weighted_mean(ops.softplus(s) - ops.clip(y, 0.0, 1.0) * s, sample_weight)

    def _of_pairs(self, scores):
        if len(scores.shape) == 2 and scores.shape[1] != 1:
            raise ValueError(
                f"PairDistillation got scores of pairs as {tuple(scores.shape)}; give (batch,) or (batch, 1), or with "
                "mode='mse' two embeddings."
            )
        return ops.reshape(ops.cast(scores, "float32"), (-1,))
