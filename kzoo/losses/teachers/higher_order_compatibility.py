"""Higher-order compatibility of a new model with the one it replaces."""

import keras
from keras import ops

from kzoo.arguments import one_of
from kzoo.layers.numerics import l2_normalize
from kzoo.losses.base import Loss
from kzoo.losses.parts.anchors import mean_of_anchors
from kzoo.losses.parts.pairwise import PairwiseLoss, Tile, cross_entropies, same
from kzoo.types import Tensor

SAME_CLASS = ("drop", "zero")


@keras.saving.register_keras_serializable(package="kzoo")
class HigherOrderCompatibility(PairwiseLoss):
    """Each old embedding must find its own new one rather than new ones of other classes.

    With unit rows, old ones `o` without gradient and new ones `n`:
    `L = mean_i [ LSE_{j: y_j != y_i}(mu <o_i, n_j>) - mu <o_i, n_i> ]`. The positive is not in the sum, so the value
    can be below 0.

    Args:
        mu: the inverse of a temperature.
        same_class: what rows of the anchor's own class are in the sum: `"drop"` leaves them out, `"zero"` puts
            them in with the logit 0, as the authors' code does.
        block_size: rows compared at a time, exact and with less memory, or `"auto"`; None: all at once.
        inputs: names of the tensors to read; default `("view_1", "teacher_view_1")`.

    Inputs:
        new, old: float tensors `(batch, dim)` of the same samples; they are normalised.
        labels: int tensor `(batch,)`.
        sample_weight: float tensor `(batch,)`.

    Feeding:
        `SelfSupervised(encoder, projector, teacher=kzoo.training.FixedTeacher(old_model))`, an old model of the same
        form, and `kzoo.data.views({"images": images, "labels": labels}, steps, views=1)`.

    Returns:
        float32 scalar; with `"drop"` 0 when all labels are equal.

    Raises:
        ValueError: unknown `same_class`.

    Recommendations:
        Next to `SimplexClassifier`, with a weight of 0.1. Without labels, a plain `InfoNCE`
        between old and new.

    Example:
        >>> HigherOrderCompatibility(mu=1.0)(np.eye(2), np.eye(2), labels=np.array([0, 1]))
        -1.0

    Reference:
        Biondi et al., Stationary Representations, 2024, arXiv 2405.02581.
    """

    default_inputs = ("view_1", "teacher_view_1")
    optional_inputs = Loss.optional_inputs | {"labels": "labels"}
    required_inputs = ("labels",)
    shapes = PairwiseLoss.shapes | {"new": "batch dim", "old": "batch dim", "labels": "batch"}
    numbers = PairwiseLoss.numbers | {"labels": "id"}
    arguments = {"same_class": one_of(*SAME_CLASS)}

    def __init__(self, mu=10.0, same_class="drop", block_size=None, inputs=None, **kwargs):
        super().__init__(block_size, inputs, **kwargs)
        self.mu, self.same_class = mu, same_class

    def call(self, new, old, labels, sample_weight=None) -> Tensor:
        def tile(i, j, rows, columns):
            z = self.mu * ops.matmul(rows["old"], ops.transpose(columns["new"]))
            of_class = same(rows["labels"], columns["labels"])
            if self.same_class == "drop":
                return Tile(z, same(i, j), keep=of_class == 0.0)
            return Tile(z, same(i, j), log_weight=-z * of_class)  # z - z

        rows = {"old": ops.stop_gradient(l2_normalize(old)), "labels": labels}
        columns = {"new": l2_normalize(new), "labels": labels}
        values, _ = cross_entropies(tile, rows, columns, block_size=self.block_size)
        # a row lacks negatives only where all rows do
        defined = ops.logical_or(self.same_class == "zero", ops.max(labels) != ops.min(labels))
        return mean_of_anchors(values, ops.broadcast_to(defined, ops.shape(values)), sample_weight)
