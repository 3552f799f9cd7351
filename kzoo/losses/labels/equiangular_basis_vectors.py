"""Equiangular basis vectors: a classifier that is not trained, and the search for its vectors."""

import math

import keras
import numpy as np

from kzoo.layers.numerics import l2_normalize
from kzoo.losses.base import Loss, weighted_mean
from kzoo.losses.parts.classes import class_cross_entropies
from kzoo.losses.parts.pairwise import PairwiseLoss
from kzoo.losses.parts.temperature import check_temperature, resolve_scale
from kzoo.types import Array, Tensor

TOLERANCE = 1e-4  # how far above the threshold the search stops, as in the paper's code
STEP, MOST_STEPS = 0.3, 2000


@keras.saving.register_keras_serializable(package="kzoo")
class EquiangularBasisVectors(PairwiseLoss):
    """Cross-entropy over fixed unit vectors, one for each class, that are almost at right angles.

    With unit rows `a` and the basis W: `L = mean_i CE(a_i W^T / t, y_i)`, with label smoothing `e`. W is not trained:
    it is found once, by `find_equiangular_basis`. A row's class is that of the vector with the largest cosine.

    Args:
        num_classes: how many vectors.
        dim: length of an embedding.
        temperature: `t` above, a float or a `LearnableTemperature`.
        label_smoothing: `e` above, in [0, 1).
        threshold: largest cosine between two vectors, see `find_equiangular_basis`.
        block_size: rows at a time, exact and with less memory, or `"auto"`; None: all at once.
        seed: of the vectors that the search starts from.
        inputs: names of the tensors to read; default `("view_1",)`.

    Inputs:
        a: float tensor `(batch, dim)`; it is normalised.
        labels: int tensor `(batch,)`.
        sample_weight: float tensor `(batch,)`.

    Feeding:
        `SelfSupervised(encoder, Projector((512, dim)))` and `kzoo.data.views({"images": images, "labels": labels},
        steps, views=1)`.

    Returns:
        float32 scalar.

    Raises:
        ValueError: bad temperature, label smoothing or threshold.

    Recommendations:
        For very many classes: the classifier has no parameters to train. `SimplexClassifier` where the dimension may
        grow with the classes.

    Example:
        >>> loss = EquiangularBasisVectors(num_classes=4, dim=8)
        >>> loss(loss.basis, labels=np.arange(4))
        1.0714

    Reference:
        Shen et al., Equiangular Basis Vectors, 2023, arXiv 2303.11637.
    """

    default_inputs = ("view_1",)
    optional_inputs = Loss.optional_inputs | {"labels": "labels"}
    required_inputs = ("labels",)
    shapes = PairwiseLoss.shapes | {"labels": "batch"}
    numbers = PairwiseLoss.numbers | {"labels": "index of num_classes"}

    def __init__(
        self,
        num_classes,
        dim,
        temperature=0.07,
        label_smoothing=0.1,
        threshold=None,
        block_size=None,
        seed=0,
        inputs=None,
        **kwargs,
    ):
        super().__init__(block_size, inputs, **kwargs)
        self.temperature, self.label_smoothing = check_temperature(temperature), label_smoothing
        self.num_classes = num_classes
        self.basis = self.add_weight(
            name="basis",
            shape=(num_classes, dim),
            initializer=lambda shape, dtype=None: find_equiangular_basis(*shape, threshold, seed),
            trainable=False,
        )

    def pairs(self, batch_size) -> tuple:
        return batch_size, self.num_classes

    def call(self, a, labels, sample_weight=None) -> Tensor:
        scale = resolve_scale(self.temperature)
        values = class_cross_entropies(
            l2_normalize(a), self.basis, labels, scale, self.label_smoothing, self.block_size
        )
        return weighted_mean(values, sample_weight)


def find_equiangular_basis(num_classes, dim, threshold=None, seed=0) -> Array:
    """Unit vectors of which no two have a cosine above a threshold, on either side of 0.

    Up to `dim` vectors are orthogonal. More are moved from random ones by gradient descent on
    `sum [ |W W^T - I| - threshold ]_+^2`, normalised after each step. That takes memory for `num_classes^2` numbers.

    Args:
        num_classes: how many vectors.
        dim: their length.
        threshold: largest cosine; default twice the lowest that any vectors can have (the bound of Welch,
            `sqrt((C - D) / (D (C - 1)))`). Lower ones take longer and may not be found.
        seed: of the vectors that it starts from.

    Returns:
        float32 array `(num_classes, dim)`.

    Raises:
        ValueError: a threshold below the bound of Welch, or one that was not reached.

    Example:
        >>> W = find_equiangular_basis(100, 50, threshold=0.15)
        >>> abs(W @ W.T - np.eye(100)).max()
        0.15

    Reference:
        Inspired by Shen et al., Equiangular Basis Vectors, 2023, arXiv 2303.11637, who minimise the sum without the
        square; squared, it needs fewer steps.
    """
    w = np.random.default_rng(seed).normal(size=(num_classes, dim))
    if num_classes <= dim:
        return np.linalg.qr(w.T)[0].T.astype("float32")
    lowest = math.sqrt((num_classes - dim) / (dim * (num_classes - 1)))
    threshold = 2.0 * lowest if threshold is None else threshold
    if threshold < lowest:
        raise ValueError(
            f"threshold is {threshold:g}, but of {num_classes} vectors of length {dim} two have a cosine of at least "
            f"{lowest:.4g}; give a higher one, or more dimensions."
        )
    w = _unit(w.astype("float32"))
    for _ in range(MOST_STEPS):
        cosines = w @ w.T
        np.fill_diagonal(cosines, 0.0)
        largest = np.abs(cosines).max()
        if largest <= threshold + TOLERANCE:
            return w
        over = np.sign(cosines) * np.maximum(np.abs(cosines) - threshold, 0.0)
        w = _unit(w - STEP * over @ w)
    raise ValueError(
        f"after {MOST_STEPS} steps the largest cosine of {num_classes} vectors of length {dim} is {largest:.4g}, above "
        f"the threshold {threshold:.4g}; give a higher one, more dimensions, or another seed."
    )


def _unit(w):
    return w / np.linalg.norm(w, axis=1, keepdims=True)
