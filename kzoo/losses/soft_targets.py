"""A teacher's opinion as the targets of a softmax."""

from keras import ops


def soft_targets(logits):
    """`softmax` of each row of a teacher's logits, without gradient: float32 `(rows, columns)`.

    Written out, because that of Keras warns of a single column, which a batch of one pair has.
    """
    return ops.stop_gradient(ops.exp(logits - ops.logsumexp(logits, axis=1, keepdims=True)))
