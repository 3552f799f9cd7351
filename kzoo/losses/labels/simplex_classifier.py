"""d-Simplex: a classifier fixed to the corners of a simplex."""

import keras
import numpy as np

from kzoo.arguments import whole
from kzoo.losses.base import Loss, weighted_mean
from kzoo.losses.parts.classes import class_cross_entropies
from kzoo.losses.parts.pairwise import PairwiseLoss
from kzoo.types import Array, Tensor


@keras.saving.register_keras_serializable(package="kzoo")
class SimplexClassifier(PairwiseLoss):
    """Cross-entropy over the corners of a regular simplex, a classifier that is the same for every model.

    `L = mean_i CE(scale * f_i W^T, y_i)` with the `num_classes` corners W of unit length in `num_classes - 1`
    dimensions, of which any two have the cosine `-1 / (num_classes - 1)`. Features are taken as they are. Models
    trained on the same corners put a class in the same place, so that old embeddings need not be computed again.

    Args:
        num_classes: corners; give more than there are classes (1024, say), to have places for later ones.
        scale: factor of the logits.
        block_size: rows at a time, exact and with less memory, or `"auto"`; None: all at once.
        inputs: names of the tensors to read; default `("view_1",)`.

    Inputs:
        f: float tensor `(batch, num_classes - 1)`.
        labels: int tensor `(batch,)`.
        sample_weight: float tensor `(batch,)`.

    Feeding:
        `SelfSupervised(encoder, Projector((512, num_classes - 1)))` and `kzoo.data.views({"images": images, "labels":
        labels}, steps, views=1)`.

    Returns:
        float32 scalar; `ln(num_classes)` for zero features.

    Raises:
        ValueError: fewer than 2 classes, or features of another length.

    Recommendations:
        With `HigherOrderCompatibility` for a model that replaces another: `SimplexClassifier(1024) +
        0.1 * HigherOrderCompatibility()`. Where the dimension is given, `EquiangularBasisVectors`.

    Example:
        >>> SimplexClassifier(num_classes=4)(np.zeros((1, 3)), labels=np.array([2]))
        1.3863

    Reference:
        Biondi et al., Stationary Representations, 2024, arXiv 2405.02581.
    """

    default_inputs = ("view_1",)
    optional_inputs = Loss.optional_inputs | {"labels": "labels"}
    required_inputs = ("labels",)
    shapes = PairwiseLoss.shapes | {"f": "batch dim", "labels": "batch"}
    numbers = PairwiseLoss.numbers | {"labels": "index of num_classes"}
    arguments = {"num_classes": whole(2)}

    def __init__(self, num_classes, scale=1.0, block_size=None, inputs=None, **kwargs):
        super().__init__(block_size, inputs, **kwargs)
        self.num_classes, self.scale = num_classes, scale
        self.corners = self.add_weight(
            name="corners",
            shape=(num_classes, num_classes - 1),
            initializer=lambda shape, dtype=None: simplex_corners(shape[0]),
            trainable=False,
        )

    def pairs(self, batch_size) -> tuple:
        return batch_size, self.num_classes

    def call(self, f, labels, sample_weight=None) -> Tensor:
        if f.shape[-1] != self.num_classes - 1:
            raise ValueError(
                f"features have {f.shape[-1]} dimensions, but a simplex of {self.num_classes} corners lies in "
                f"{self.num_classes - 1}; project them to that many, or set num_classes to {f.shape[-1] + 1}."
            )
        values = class_cross_entropies(f, self.corners, labels, self.scale, block_size=self.block_size)
        return weighted_mean(values, sample_weight)


def simplex_corners(count) -> Array:
    """Unit vectors to the corners of a regular simplex around 0, float32 `(count, count - 1)`."""
    dim = count - 1
    last = np.full((1, dim), (1.0 - np.sqrt(1.0 + dim)) / dim)  # as far from each axis' end as these from each other
    corners = np.concatenate([np.eye(dim), last])
    corners = corners - corners.mean(axis=0)
    return (corners / np.linalg.norm(corners, axis=1, keepdims=True)).astype("float32")
