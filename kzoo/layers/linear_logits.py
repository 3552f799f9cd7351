"""The logits of a linear layer that are not multiplied out."""

from typing import Any, NamedTuple

from keras import ops

from kzoo.layers.linear import multiplied
from kzoo.types import Tensor


class LinearLogits(NamedTuple):
    """`states @ kernel + bias`, which a decoder gives to its loss in place of logits of its whole vocabulary.

    Args:
        states: float tensor `(..., width)`; the product is of their dtype.
        kernel: float tensor `(width, vocabulary)`.
        bias: float tensor `(vocabulary,)`, or None.

    Example:
        >>> LinearLogits(np.ones((1, 2, 3)), np.ones((3, 8))).whole().shape
        (1, 2, 8)
    """

    states: Any
    kernel: Any
    bias: Any = None

    @property
    def shape(self) -> tuple:
        """That of the logits."""
        return (*self.states.shape[:-1], self.kernel.shape[-1])

    def whole(self) -> Tensor:
        """The logits, float32 `(..., vocabulary)`."""
        states = ops.convert_to_tensor(self.states)
        z = ops.cast(multiplied(states, ops.cast(self.kernel, states.dtype)), "float32")
        return z if self.bias is None else z + ops.cast(self.bias, "float32")
