"""The cross-entropy that never holds its logits, against the definition token by token."""

import keras
import numpy as np
import pytest
from keras import ops
from shared_case import numpy, value_and_gradients

from kzoo.layers import LinearLogits
from kzoo.layers.numerics import embed
from kzoo.losses.parts.linear_cross_entropy import linear_cross_entropy

RAGGED = {"batch": 3, "length": 5, "vocabulary": 23, "chunk": 7}  # 23 = 6 + 6 + 6 + 5
SIZES = {
    "ragged": RAGGED,
    "even": RAGGED | {"vocabulary": 24, "chunk": 8},
    "column by column": RAGGED | {"vocabulary": 5, "chunk": 1},
    "fewer columns than a chunk": RAGGED | {"chunk": 100},
    "default": RAGGED | {"chunk": None},
    "one token": RAGGED | {"batch": 1, "length": 1},
}


def case(batch, length, vocabulary, width=4):
    random = np.random.default_rng(0)
    shapes = (batch, length, width), (width, vocabulary), (vocabulary,), (batch, length)
    states, kernel, bias, upstream = (random.normal(size=shape).astype("float32") for shape in shapes)
    return states, kernel, bias, random.integers(0, vocabulary, (batch, length)).astype("int32"), upstream


def by_definition(states, kernel, bias, labels, upstream, e):
    """Losses `(batch, length)` and the gradients of `sum upstream * losses`, in float64, one token at a time."""
    states, kernel, bias, upstream = (each.astype("float64") for each in (states, kernel, bias, upstream))
    losses, vocabulary = np.zeros(labels.shape), kernel.shape[1]
    gradients = [np.zeros_like(each) for each in (states, kernel, bias)]
    for b, t in np.ndindex(labels.shape):
        z = np.array([states[b, t] @ kernel[:, v] + bias[v] for v in range(vocabulary)])
        log_normalizer = z.max() + np.log(np.sum(np.exp(z - z.max())))
        wanted = np.full(vocabulary, e / vocabulary) + (1 - e) * (np.arange(vocabulary) == labels[b, t])
        losses[b, t] = np.sum(wanted * (log_normalizer - z))
        d_z = upstream[b, t] * (np.exp(z - log_normalizer) - wanted)
        for whole, part in zip(gradients, (kernel @ d_z, np.outer(states[b, t], d_z), d_z)):
            whole[(b, t) if whole.ndim == 3 else ...] += part
    return losses, gradients


@pytest.mark.parametrize("sizes", SIZES.values(), ids=SIZES)
@pytest.mark.parametrize("with_bias, e", [(True, 0.1), (False, 0.0)])
def test_value_and_gradients(sizes, with_bias, e):
    chunk = sizes["chunk"]
    *arrays, labels, upstream = case(**{name: size for name, size in sizes.items() if name != "chunk"})
    if not with_bias:
        arrays[2][:] = 0.0
    expected, gradients = by_definition(*arrays, labels, upstream, e)
    arrays = arrays[: 2 + with_bias]

    def function(states, kernel, bias=None):
        return linear_cross_entropy(LinearLogits(states, kernel, bias), labels, e, chunk)

    losses = numpy(function(*map(ops.convert_to_tensor, arrays)))
    assert losses.dtype == np.float32
    np.testing.assert_allclose(losses, expected, rtol=1e-5, atol=1e-6)
    weighted = ops.convert_to_tensor(upstream)
    _, found = value_and_gradients(lambda *tensors: ops.sum(weighted * function(*tensors)), arrays)
    for one, other in zip(found, gradients):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=2e-6)


def test_logits_of_any_size():
    """A label whose logit is the largest by far costs nothing, one by far below costs the distance."""
    kernel = np.array([[1.0, 0.0, -1.0, 0.5, 0.2]], "float32")
    states = np.array([[[1e6], [1e6], [0.0]]], "float32")
    labels = np.array([[0, 2, 4]], "int32")
    losses = numpy(linear_cross_entropy(LinearLogits(states, kernel), labels, chunk=2))
    np.testing.assert_allclose(losses, [[0.0, 2e6, np.log(5)]], rtol=1e-6)


def test_a_label_that_is_not_in_the_vocabulary():
    states, kernel, _, _, _ = case(1, 3, 7)
    labels = np.array([[-1, 6, 7]], "int32")
    losses = numpy(linear_cross_entropy(LinearLogits(states, kernel), labels, chunk=3))
    assert np.isnan(losses).tolist() == [[True, False, True]]


def test_a_tied_table_gets_both_gradients():
    """The table gives the states and is the kernel."""
    _, table, bias, labels, _ = case(2, 5, 6, width=11)
    table, ids = table.T.copy(), np.array([[0, 1, 1, 5, 2], [3, 3, 1, 0, 4]], "int32")

    def chunked(table, bias):
        return ops.mean(
            linear_cross_entropy(LinearLogits(embed(table, ids), ops.transpose(table), bias), labels, chunk=4)
        )

    def whole(table, bias):
        z = ops.matmul(embed(table, ids), ops.transpose(table)) + bias
        picked = ops.take_along_axis(z, ops.convert_to_tensor(labels[..., None]), axis=-1)
        return ops.mean(ops.logsumexp(z, axis=-1, keepdims=True) - picked)

    value, gradients = value_and_gradients(chunked, [table, bias])
    expected, expected_gradients = value_and_gradients(whole, [table, bias])
    assert value == pytest.approx(expected, rel=1e-5)
    for one, other in zip(gradients, expected_gradients):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-6)


def test_half_precision_is_that_of_the_products_only():
    """On numbers whose products bfloat16 holds exactly, the loss is as in float32."""
    random = np.random.default_rng(0)
    states, kernel = (random.integers(-2, 3, shape).astype("float32") for shape in ((2, 5, 4), (4, 23)))
    labels = random.integers(0, 23, (2, 5)).astype("int32")

    def mean(states, kernel):
        losses = linear_cross_entropy(LinearLogits(ops.cast(states, "bfloat16"), kernel), labels, chunk=7)
        assert keras.backend.standardize_dtype(losses.dtype) == "float32"
        return ops.mean(losses)

    losses, gradients = by_definition(states, kernel, np.zeros(23), labels, np.full((2, 5), 0.1), 0.0)
    value, found = value_and_gradients(mean, [states, kernel])
    assert value == pytest.approx(losses.mean(), rel=1e-6)
    for one, other in zip(found, gradients):
        np.testing.assert_allclose(one, other, rtol=0.02, atol=2e-3)


@pytest.mark.parametrize("shape", [(2, 5, 3), (2, 5, 8), (2, 6, 4), (10, 4)])
def test_shapes_that_do_not_go_together(shape):
    _, kernel, _, labels, _ = case(2, 5, 7)
    sentence = rf"states \({shape[0]}, .*, kernel \(4, 7\) and labels \(2, 5\) do not go together; expected are \(batch"
    with pytest.raises(ValueError, match=sentence):
        linear_cross_entropy(LinearLogits(np.zeros(shape, "float32"), kernel), labels)
