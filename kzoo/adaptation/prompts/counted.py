"""Accuracy of many answers of a row, of which some do not count."""

from collections.abc import Callable

from keras import ops

from kzoo.types import Tensor


def accuracy_of(logits, labels, mask) -> Callable:
    """A measure of tensors by these names: the share of what counts whose label has the largest logit."""

    def measure(tensors) -> Tensor:
        found = ops.cast(ops.argmax(tensors[logits], axis=-1), "int32")
        right = ops.cast(ops.equal(found, ops.cast(tensors[labels], "int32")), "float32")
        counts = ops.cast(tensors[mask], "float32") if mask in tensors else ops.ones_like(right)
        return ops.sum(right * counts) / ops.maximum(ops.sum(counts), 1.0)

    return measure
