"""The similarity head: the scale and bias that turn cosines into logits."""

import math
from typing import Any
from weakref import WeakSet

import keras
import numpy as np
from keras import ops

from kzoo.arguments import FINITE, one_of
from kzoo.evaluation.directions import ROUNDING, directions
from kzoo.keras_contact import untracked
from kzoo.layers.configured import Configured
from kzoo.layers.numerics import l2_normalize
from kzoo.types import Tensor

FORMS = ("log_scale", "temperature", "fixed")


@keras.saving.register_keras_serializable(package="kzoo")
class UpperBound(keras.constraints.Constraint):
    """Clips a weight to at most `limit` after each step.

    The clip is on the weight: a `minimum` in the forward pass has no gradient above the limit, and the
    weight would stay there for good.
    """

    def __init__(self, limit):
        self.limit = limit

    def __call__(self, weight) -> Tensor:
        return ops.minimum(weight, ops.cast(self.limit, weight.dtype))

    def get_config(self) -> dict:
        return {"limit": self.limit}


@keras.saving.register_keras_serializable(package="kzoo")
class LowerBound(UpperBound):
    """Clips a weight to at least `limit` after each step."""

    def __call__(self, weight) -> Tensor:
        return ops.maximum(weight, ops.cast(self.limit, weight.dtype))


def add_log_scale(layer, scale, max_scale, name) -> Any:
    """A float32 scalar weight `ln(scale)`, held at or below `ln(max_scale)` after every step."""
    if not 0 < scale <= max_scale:
        raise ValueError(f"the initial scale {scale:g} lies outside (0, {max_scale:g}]; choose one inside.")
    return layer.add_weight(
        name=name,
        shape=(),
        initializer=keras.initializers.Constant(math.log(scale)),
        dtype="float32",
        autocast=False,
        constraint=UpperBound(math.log(max_scale)),
    )


@keras.saving.register_keras_serializable(package="kzoo")
class SimilarityHead(Configured, keras.layers.Layer):
    """`scale * <image, text> + bias`.

    Args:
        scale: initial scale, the inverse of the temperature.
        max_scale: the scale is clipped to this after each step.
        bias: initial bias, or None for a head without one.
        form: what is learned: `"log_scale"`, the logarithm of the scale; `"temperature"`, its inverse, as in ALIGN;
            `"fixed"`, nothing.

    Inputs:
        images: float tensor `(n, dim)`, of any length: cosines are compared.
        texts: float tensor `(m, dim)`, likewise.
        The head of a model with a vocabulary takes pictures and texts themselves, as `model.logits(images, texts)`.

    Returns:
        float32 tensor `(n, m)` of logits; a numpy array of two numpy arrays.

    Raises:
        TypeError: something else than embeddings, of a head that stands alone or in several models.
        ValueError: a row of a numpy array that is zero or not finite.

    Example:
        >>> SimilarityHead(scale=10.0)(np.array([[1.0, 0.0]]), np.array([[1.0, 0.0], [0.0, 1.0]]))
        [[10., 0.]]

    Reference:
        Radford et al., CLIP, 2021, arXiv 2103.00020 (scale); Zhai et al., SigLIP, 2023, arXiv 2303.15343
        (bias).
    """

    arguments = {"bias": FINITE, "form": one_of(*FORMS)}

    def __init__(self, scale=1 / 0.07, max_scale=100.0, bias=None, form="log_scale", **kwargs):
        super().__init__(**kwargs)
        self.form = form
        self.initial_scale, self.max_scale, self.initial_bias = scale, max_scale, bias
        untracked(self, "models", WeakSet())  # whose `similarity` it is; they join themselves
        self.build()

    def build(self) -> None:
        self.log_scale = self.temperature = self.bias = None
        if self.form == "log_scale":
            self.log_scale = add_log_scale(self, self.initial_scale, self.max_scale, "logit_scale")
        elif self.form == "temperature":
            self.temperature = self.add_weight(
                name="temperature",
                shape=(),
                initializer=keras.initializers.Constant(1.0 / self.initial_scale),
                dtype="float32",
                autocast=False,
                constraint=LowerBound(1.0 / self.max_scale),
            )
        if self.initial_bias is not None:
            self.bias = self.add_weight(
                name="logit_bias",
                shape=(),
                initializer=keras.initializers.Constant(self.initial_bias),
                dtype="float32",
                autocast=False,
            )

    @property
    def scale(self) -> Tensor:
        """The current scale, a float32 scalar tensor."""
        if self.form == "log_scale":
            return ops.exp(self.log_scale)
        return 1.0 / self.temperature if self.form == "temperature" else ops.convert_to_tensor(self.initial_scale)

    def numbers(self) -> tuple:
        """Scale and bias as Python floats; 0.0 for a head without a bias."""
        bias = 0.0 if self.bias is None else float(ops.convert_to_numpy(self.bias))
        return float(ops.convert_to_numpy(self.scale)), bias

    def __call__(self, images, texts) -> Tensor:
        others = [given for given in (images, texts) if not _is_embedding(given)]
        if others and len(self.models) == 1:
            (model,) = self.models
            return model.logits(images, texts)
        if others:
            raise TypeError(
                f"the similarity head compares embeddings, arrays (n, dim), but got {type(others[0]).__name__}; "
                "pictures and texts are compared by model.logits(images, texts)."
            )
        both = isinstance(images, np.ndarray) and isinstance(texts, np.ndarray)
        if both:
            images, texts = (directions(np.asarray(each, "float32")) for each in (images, texts))
        logits = super().__call__(images, texts)
        return ops.convert_to_numpy(logits) if both else logits

    def call(self, images, texts) -> Tensor:
        images, texts = _unit(images), _unit(texts)
        logits = self.scale * ops.matmul(images, ops.transpose(texts))  # (n, m)
        return logits if self.bias is None else logits + self.bias


def tensors_of(head) -> dict[str, Tensor]:
    """Scale and bias of a similarity head as losses call them, by name; nothing of None."""
    if head is None:
        return {}
    scale = {"logit_scale": head.scale}
    return scale if head.bias is None else scale | {"logit_bias": head.bias}


def _is_embedding(value):
    array = isinstance(value, np.ndarray) and value.dtype.kind == "f" and value.ndim == 2
    return array or ops.is_tensor(value) or isinstance(value, keras.KerasTensor)


def _unit(x):
    """Rows at unit length, float32, by the rule of `directions`: those that have it stay as they are."""
    x = ops.cast(x, "float32")
    length = ops.sqrt(ops.sum(ops.square(x), axis=-1, keepdims=True))
    return ops.where(ops.abs(length - 1.0) <= ROUNDING * np.finfo("float32").eps, x, l2_normalize(x))
