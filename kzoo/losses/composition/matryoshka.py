"""Matryoshka: a loss on the first few features of embeddings, for several numbers of them."""

from typing import Any

import keras
from keras import ops

from kzoo.losses.base import Loss, WeightedSum
from kzoo.losses.parts.numbers import check_numbers
from kzoo.types import Tensor


@keras.saving.register_keras_serializable(package="kzoo")
class Matryoshka(Loss):
    """Any loss trains the first few features of embeddings beside all of them, so that short embeddings serve as well.

    `L = sum_d w_d loss(a[:, :d], b[:, :d], ...)`. Embeddings are cut before the inner loss normalises them. Of its
    other tensors those are cut that are floats `(..., dim)` too, such as the embeddings of a teacher; labels, weights
    and scalars stay as they are. It reads what the inner loss reads and is logged as one value.

    Args:
        loss: a kzoo loss, whose temperature all lengths share. A loss that keeps more than scalars, such as a queue or
            prototypes, needs one for each length: a function of d that returns a loss, or a list in the order of
            `dims`.
        dims: the lengths d, at most that of the embeddings, which you name too if the whole of them counts.
        weights: `w_d` in the order of `dims`; default 1.0 each, as in the paper.

    Inputs:
        Those of the inner loss, by position and by keyword; the first has a last axis of `dim` features.

    Returns:
        float32 scalar.

    Raises:
        TypeError: `loss` is no kzoo loss and gives none.
        ValueError: a sum of losses, a stateful loss shared by several lengths, `dims` beyond the embeddings,
            `weights` of another number than `dims`.

    Recommendations:
        Each length costs the inner loss once more, the towers run once. Wrap the terms of a sum one by one.

    Example:
        >>> Matryoshka(InfoNCE(), dims=[2, 4])(np.eye(4), np.eye(4))
        0.6932
        >>> Matryoshka(lambda dim: ESimCSE(queue_size=160, dim=dim), dims=[64, 128, 256])
        >>> model.compile(loss=Matryoshka(InfoNCE(), dims=[64, 128, 256]) + 2.0 * Captioning())

    Reference:
        Kusupati et al., Matryoshka Representation Learning, 2022, arXiv 2205.13147.
    """

    default_inputs = ()
    optional_inputs = {}  # of the class; an instance has those of the inner loss

    def __init__(self, loss, dims, weights=None, **kwargs):
        super().__init__(**kwargs)
        self.dims = tuple(dims)
        self.weights_of_dims = [1.0] * len(self.dims) if weights is None else [float(each) for each in weights]
        if len(self.weights_of_dims) != len(self.dims):
            raise ValueError(
                f"weights has {len(self.weights_of_dims)} numbers for {len(self.dims)} dims; give one each."
            )
        self.inner = _made(loss, self.dims)
        first = self.inner[0]
        self.input_names = tuple(name for name in first.input_names if name not in first.constants)
        self.optional_names = {key: name for key, name in first.optional_names.items() if name not in first.constants}
        self.required_inputs = tuple(key for key in first.required_inputs if key in self.optional_names)
        self.asked_for = tuple(key for key in first.asked_for if key in self.optional_names)
        self.numbers = first.numbers
        self.inputs_given, self.input_counts = first.inputs_given, first.input_counts
        self.takes_linear_logits = first.takes_linear_logits

    def get_config(self) -> dict:
        inner = [keras.saving.serialize_keras_object(each) for each in self.inner]
        return super().get_config() | {"loss": inner if len(inner) > 1 else inner[0]}

    def check_read(self, given) -> None:
        super().check_read(given)
        check_numbers(self.inner[0], given, {})

    def look(self, tensors, outputs=None) -> None:
        self.inner[0].look(tensors, outputs)

    def rows_of(self, tensors) -> Any:
        return self.inner[0].rows_of(tensors)

    def pairs(self, batch_size) -> tuple | None:
        return self.inner[0].pairs(batch_size)

    def negatives(self, batch_size) -> int:
        return self.inner[0].negatives(batch_size)

    @property
    def block_size(self) -> int | None:
        """That of the inner loss, if it has one: rows compared at a time."""
        return self.inner[0].block_size

    def call(self, *tensors, training=None, **keywords) -> Tensor:
        width = tensors[0].shape[-1] if len(tensors[0].shape) > 1 else 0
        if max(self.dims) > width:
            raise ValueError(
                f"{type(self).__name__} got dims {self.dims}, but the first input, of shape {tuple(tensors[0].shape)}, "
                f"has {width} features per row; name dims of at most that many."
            )
        inner = self.inner if len(self.inner) > 1 else [*self.inner] * len(self.dims)
        total = 0.0
        for loss, dim, weight in zip(inner, self.dims, self.weights_of_dims):
            cut = [_cut(each, dim, width) for each in tensors]
            more = {key: each if key in loss.pair_inputs else _cut(each, dim, width) for key, each in keywords.items()}
            total = total + weight * loss(*cut, **more, training=training)  # which Keras drops where `call` has none
        return total

    def _renaming(self, name):
        return self.inner[0]._renaming(name)


def _cut(tensor, dim, width):
    shape = getattr(tensor, "shape", ())
    if len(shape) < 2 or shape[-1] != width or not keras.backend.is_float_dtype(ops.dtype(tensor)):
        return tensor
    return tensor[..., :dim]


def _made(loss, dims):
    """The losses of a constructor's `loss`: one for all dims, or one for each."""
    if isinstance(loss, Loss):
        _check(loss)
        if len(dims) > 1 and keeps_more_than_scalars(loss):
            raise ValueError(
                f"{type(loss).__name__} has weights that several lengths cannot share; give one loss for each: "
                f"a function of the length, lambda dim: {type(loss).__name__}(...)."
            )
        return [loss]
    if isinstance(loss, (list, tuple)):
        made = list(loss)
        if len(made) != len(dims):
            raise ValueError(f"loss is a list of {len(made)} for {len(dims)} dims; give one each.")
    elif callable(loss) and not isinstance(loss, type):
        made = [loss(dim) for dim in dims]
    else:
        made = [loss]
    for each in made:
        _check(each)
    if any((type(each), each.reads) != (type(made[0]), made[0].reads) for each in made):
        raise ValueError(
            "the losses of the lengths are of different classes or read different tensors; make them alike."
        )
    return made


def _check(loss):
    if not isinstance(loss, Loss):
        what = loss.__name__ if isinstance(loss, type) else f"of type {type(loss).__name__}"
        raise TypeError(
            f"loss is {what}; give a kzoo loss such as InfoNCE(), or a function of the length that makes one."
        )
    if isinstance(loss, WeightedSum):
        raise ValueError("loss is a sum; wrap its terms one by one: Matryoshka(a, dims) + Matryoshka(b, dims).")


def keeps_more_than_scalars(loss) -> bool:
    """Whether a loss has weights of a width, or counters, that embeddings of different lengths cannot share."""
    return any(len(each.shape) > 0 or not keras.backend.is_float_dtype(each.dtype) for each in loss.weights)
