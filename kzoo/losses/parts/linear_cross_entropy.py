"""Cross-entropy per token, of logits and of a linear layer whose logits exist a chunk of the vocabulary at a time."""

import math

import keras
from keras import ops

from kzoo.layers.linear_logits import LinearLogits
from kzoo.layers.numerics import NEGATIVE
from kzoo.layers.own_gradient import own_gradient
from kzoo.types import Tensor

HELD = 2**22  # logits at a time, 16 MB, beside as many as the states have numbers


def cross_entropy(logits, labels, label_smoothing=0.0) -> Tensor:
    """`(1 - e) (LSE z - z_y) + e mean_v (LSE z - z_v)`, float32 `(...)`, of logits `z` `(..., vocabulary)`."""
    z = ops.cast(logits, "float32")
    target = ops.squeeze(ops.take_along_axis(z, ops.expand_dims(labels, -1), axis=-1), axis=-1)  # z_y
    if label_smoothing:
        target = (1.0 - label_smoothing) * target + label_smoothing * ops.mean(z, axis=-1)
    return ops.logsumexp(z, axis=-1) - target


def linear_cross_entropy(logits, labels, label_smoothing=0.0, chunk=None) -> Tensor:
    """`cross_entropy` of `LinearLogits`, with exact gradients, of which one chunk is held at a time.

    Both passes go over the vocabulary in chunks, and the backward pass makes each chunk of the logits again: four
    products in place of three. It is the vocabulary that is cut, because tokens are what several devices share out: a
    chunk of tokens would be computed by all of them. The products are of the dtype of the states, all else is
    float32. Logits that fit into one chunk are multiplied out.

    Args:
        logits: `LinearLogits` with states `(batch, length, width)`.
        labels: int tensor `(batch, length)`; one that is not in the vocabulary costs NaN.
        label_smoothing: `e` of `cross_entropy`, in [0, 1).
        chunk: columns of the kernel at a time; default as many as make 16 MB of logits, and `width` more: never fewer
            than a column of the states.

    Returns:
        float32 tensor `(batch, length)`.

    Raises:
        ValueError: shapes that do not go together.

    Example:
        >>> linear_cross_entropy(LinearLogits(np.zeros((1, 2, 3)), np.zeros((3, 8))), np.array([[5, 7]]))
        [[2.0794, 2.0794]]

    Reference:
        Inspired by Wijmans et al., Cut Your Losses in Large-Vocabulary Language Models, 2024, arXiv 2411.09009.
    """
    states, kernel, labels = (ops.convert_to_tensor(each) for each in (*logits[:2], labels))
    width, vocabulary = kernel.shape
    known = [sizes for sizes in zip(states.shape, labels.shape) if None not in sizes]
    if states.shape[-1] != width or len(states.shape) != len(labels.shape) + 1 or any(a != b for a, b in known):
        raise ValueError(
            f"states {tuple(states.shape)}, kernel {tuple(kernel.shape)} and labels {tuple(labels.shape)} do not go "
            "together; expected are (batch, length, width), (width, vocabulary) and (batch, length)."
        )
    x = ops.reshape(states, (-1, width))  # (tokens, width)
    y = ops.reshape(ops.cast(labels, "int32"), (-1,))
    e = label_smoothing
    chunks = -(-vocabulary // (chunk or width + HELD // ops.shape(x)[0]))
    if isinstance(chunks, int) and chunks == 1:
        return cross_entropy(logits.whole(), labels, e)
    size = -(-vocabulary // chunks)  # as even as they can be
    full = (vocabulary - 1) // size  # chunks of this size; one more has the rest, at least one column

    def over_chunks(step, carry):
        carry = _loop(full, lambda index, carry: step(index * size, size, carry), carry)
        return step(full * size, vocabulary - full * size, carry)

    @own_gradient
    def per_token(x, kernel, *bias):
        def columns(start, count):
            return ops.cast(ops.slice(kernel, (0, start), (width, count)), x.dtype)

        def logits_of(start, count):  # (tokens, count)
            of_bias = ops.slice(bias[0], (start,), (count,)) if bias else None
            return LinearLogits(x, columns(start, count), of_bias).whole()

        def forward(start, count, carry):
            log_normalizer, target = carry
            z = logits_of(start, count)
            log_normalizer = ops.logaddexp(log_normalizer, ops.logsumexp(z, axis=-1))
            column = y - start
            here = ops.logical_and(column >= 0, column < count)
            z_y = ops.take_along_axis(z, ops.expand_dims(ops.clip(column, 0, count - 1), -1), axis=-1)
            target = target + (1.0 - e) * ops.where(here, ops.squeeze(z_y, -1), 0.0)
            return log_normalizer, target + e / vocabulary * ops.sum(z, axis=-1) if e else target

        nothing = ops.zeros_like(y, dtype="float32")
        in_vocabulary = ops.logical_and(y >= 0, y < vocabulary)
        start = (nothing + NEGATIVE, ops.where(in_vocabulary, nothing, math.nan))
        log_normalizer, target = over_chunks(forward, start)

        def gradients(upstream):
            upstream = ops.expand_dims(upstream, -1)  # (tokens, 1)

            def backward(start, count, carry):
                d_x, d_kernel, *d_bias = carry
                z = logits_of(start, count)
                d_z = _less_labels(z, log_normalizer, y - start, 1.0 - e + e / vocabulary, e / vocabulary, upstream)
                if bias:
                    d_bias = [_write(d_bias[0], start, ops.sum(d_z, axis=0))]
                d_z = ops.cast(d_z, x.dtype)  # (tokens, count)
                d_x = d_x + ops.cast(ops.matmul(d_z, ops.transpose(columns(start, count))), "float32")
                d_columns = ops.cast(ops.matmul(ops.transpose(x), d_z), "float32")
                return d_x, _write(d_kernel, start, d_columns), *d_bias

            inputs = (x, kernel, *bias)
            carry = over_chunks(backward, tuple(ops.zeros_like(each, dtype="float32") for each in inputs))
            return tuple(ops.cast(each, like.dtype) for each, like in zip(carry, inputs))

        return log_normalizer - target, gradients

    weights = (kernel,) if logits.bias is None else (kernel, ops.convert_to_tensor(logits.bias))
    return ops.reshape(per_token(x, *weights), ops.shape(labels))


def _loop(count, body, carry):
    """`ops.fori_loop` from 0, one step at a time."""
    if keras.config.backend() != "tensorflow":
        return ops.fori_loop(0, count, body, carry)
    import tensorflow as tf

    # by default TensorFlow runs up to ten steps at once, and would hold the logits of as many chunks
    return tf.while_loop(
        lambda index, carry: index < count,
        lambda index, carry: (index + 1, body(index, carry)),
        (0, carry),
        parallel_iterations=1,
    )[1]


def _less_labels(z, log_normalizer, labels, share, rest, upstream):
    """`upstream (softmax z - target)`, where a target has `share` in the column of its label, `rest` in all others."""
    log_normalizer, labels = (ops.expand_dims(each, -1) for each in (log_normalizer, labels))
    if keras.config.backend() == "torch":
        import torch

        if not torch.is_grad_enabled():  # in place, to the same numbers: else three arrays as large are held at a time
            count, softmax = z.shape[-1], z.sub_(log_normalizer).exp_()
            place = labels.clip(0, count - 1).long()
            of_label = softmax.gather(-1, place) - torch.where(place == labels, share, rest)
            return softmax.sub_(rest).scatter_(-1, place, of_label).mul_(upstream)
    softmax = ops.exp(z - log_normalizer)
    is_label = ops.equal(labels, ops.arange(ops.shape(z)[-1], dtype="int32"))
    return upstream * (softmax - ops.where(is_label, share, rest))


def _write(whole, start, columns):
    """`whole` with these columns, the last axis, from `start` on."""
    if keras.config.backend() == "torch":  # in place, where Keras would copy the whole for every chunk
        whole[..., start : start + columns.shape[-1]] = columns
        return whole
    if keras.config.backend() == "tensorflow":
        import tensorflow as tf

        if tf.executing_eagerly():  # a second derivative may be asked for, which the operation of Keras has not
            return tf.concat([whole[..., :start], columns, whole[..., start + columns.shape[-1] :]], axis=-1)
    return ops.slice_update(whole, (0,) * (len(columns.shape) - 1) + (start,), columns)
