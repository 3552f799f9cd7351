"""Convolutions and batch norms, each way that a backend takes them, against float64."""

import numpy as np
import pytest
from keras import ops
from keras.ops import convert_to_tensor as as_tensor
from shared_case import numpy, value_and_gradients

from kzoo.layers.convolution import Conv2D, DepthwiseConv2D, batch_norm

MAP = (2, 9, 8, 4)
KINDS = {  # layer, its arguments, side of the kernel, strides
    "1": (Conv2D, {"filters": 6}, 1, 1),
    "1, strides": (Conv2D, {"filters": 6}, 1, 2),
    "2, strides": (Conv2D, {"filters": 6}, 2, 2),
    "3": (Conv2D, {"filters": 6}, 3, 1),
    "3, same": (Conv2D, {"filters": 6, "padding": "same"}, 3, 1),
    "groups": (Conv2D, {"filters": 6, "groups": 2}, 3, 1),
    "as many groups as channels of each": (Conv2D, {"filters": 8, "groups": 2}, 1, 1),
    "depthwise": (DepthwiseConv2D, {}, 3, 1),
    "depthwise, strides": (DepthwiseConv2D, {}, 3, 2),
    "depthwise, wide, same": (DepthwiseConv2D, {"padding": "same"}, 7, 1),
    "depthwise, more": (DepthwiseConv2D, {"depth_multiplier": 3}, 3, 1),
}


def convolved(x, kernel, side, strides, same, groups):
    """A map under a kernel `(side, side, channels / groups, filters)`, tap by tap, and what it reads at each."""
    x, before = x.astype("float64"), side // 2 if same else 0
    x = np.pad(x, ((0, 0), (before, before), (before, before), (0, 0)))
    rows, columns = ((size - side) // strides + 1 for size in x.shape[1:3])
    taps = [
        x[:, i : i + strides * (rows - 1) + 1 : strides, j : j + strides * (columns - 1) + 1 : strides]
        for i in range(side)
        for j in range(side)
    ]
    by_group = np.split(kernel.reshape(side * side, *kernel.shape[2:]).astype("float64"), groups, axis=-1)
    seen = np.stack(taps)  # (taps, batch, rows, columns, channels)
    parts = [np.einsum("tbrci,tif->brcf", part, each) for part, each in zip(np.split(seen, groups, -1), by_group)]
    return np.concatenate(parts, -1)


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_a_convolution_and_its_gradients(kind):
    cls, options, side, strides = kind
    layer, generator = cls(kernel_size=side, strides=strides, **options), np.random.default_rng(0)
    layer.build(MAP)
    x = generator.normal(size=MAP).astype("float32")
    kernel, bias = (generator.normal(size=tuple(each.shape)).astype("float32") for each in layer.weights)
    depthwise, same = cls is DepthwiseConv2D, options.get("padding") == "same"
    groups = MAP[-1] if depthwise else options.get("groups", 1)

    def reference(x, kernel):
        kernel = kernel.reshape(side, side, 1, -1) if depthwise else kernel
        return convolved(x, kernel, side, strides, same, groups)

    def call(x, kernel, bias):
        return layer.stateless_call([kernel, bias], [], x)[0]

    want = reference(x, kernel) + bias
    layer.set_weights([kernel, bias])
    np.testing.assert_allclose(numpy(layer(as_tensor(x))), want, atol=2e-5)
    weight = generator.normal(size=want.shape).astype("float32")
    _, gradients = value_and_gradients(lambda *each: ops.sum(ops.multiply(call(*each), weight)), [x, kernel, bias])
    of_x, of_kernel, of_bias = gradients
    np.testing.assert_allclose(of_bias, weight.sum((0, 1, 2)), atol=1e-4)
    # each is linear, so that a gradient is known by what it makes of two other arrays
    for other in (generator.normal(size=x.shape), np.ones(x.shape)):
        np.testing.assert_allclose(
            np.sum(of_x * other), np.sum(reference(other, kernel) * weight), rtol=1e-4, atol=1e-3
        )
    for other in (generator.normal(size=kernel.shape), np.ones(kernel.shape)):
        np.testing.assert_allclose(
            np.sum(of_kernel * other), np.sum(reference(x, other) * weight), rtol=1e-4, atol=1e-3
        )


@pytest.mark.parametrize(("shape", "trainable"), [(MAP, True), (MAP, False), ((2, 5, 4), True)])
def test_a_batch_norm_by_its_statistics(shape, trainable):
    norm, generator = batch_norm(1e-3, 0.9, "norm"), np.random.default_rng(1)
    norm.build(shape)
    norm.trainable = trainable
    x, axes = generator.normal(size=shape).astype("float32"), tuple(range(len(shape) - 1))
    for weight in norm.weights:
        weight.assign(generator.uniform(0.5, 2.0, size=tuple(weight.shape)))
    gain, shift, mean, variance = (
        numpy(each.value).astype("float64") for each in (norm.gamma, norm.beta, norm.moving_mean, norm.moving_variance)
    )
    want = (x - mean) / np.sqrt(variance + 1e-3) * gain + shift
    np.testing.assert_allclose(numpy(norm(as_tensor(x), training=not trainable)), want, atol=2e-6)
    moved, trained = numpy(norm.moving_mean.value), numpy(norm(as_tensor(x), training=True))
    np.testing.assert_allclose(trained.mean(axes), shift if trainable else want.mean(axes), atol=1e-5)
    assert (numpy(norm.moving_mean.value) != moved).any() == trainable
