"""A teacher's opinion as the targets of a softmax."""

from keras import ops

from kzoo.types import Tensor


def soft_targets(logits) -> Tensor:
    """`softmax` of each row of a teacher's logits, without gradient: float32 `(rows, columns)`.

    A batch of one pair has a single column, of which the softmax of Keras warns.
    """
    logits = ops.stop_gradient(logits)
    return ops.ones_like(logits) if logits.shape[1] == 1 else ops.softmax(logits, axis=1)
