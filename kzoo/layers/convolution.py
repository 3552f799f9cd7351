"""Convolutions whose padding is written out, as torch pads: Keras' "same" pads even sizes on one side only."""

from typing import Any

import keras
import numpy as np
from keras import ops

from kzoo.arguments import COUNT, FLAG
from kzoo.keras_contact import CalledDirectly
from kzoo.layers import numerics
from kzoo.layers.configured import Configured
from kzoo.layers.initializers import HeNormal
from kzoo.layers.merging import Mergeable
from kzoo.layers.numerics import activation_function, value_of
from kzoo.types import Tensor

_LAST = "channels_last"


class Conv2D(CalledDirectly, keras.layers.Conv2D):
    """That of Keras, by what is fastest on each backend; of the same name, by which files know the layers of a list."""

    def call(self, inputs) -> Tensor:
        x = _by_torch(self, inputs, self.groups)
        return super().call(inputs) if x is None else _finished(self, x)


class DepthwiseConv2D(CalledDirectly, keras.layers.DepthwiseConv2D):
    """That of Keras, as above."""

    def call(self, inputs) -> Tensor:
        x = _by_torch(self, inputs, inputs.shape[-1])
        if x is None and self.depth_multiplier == 1:
            x = _by_jax(self, inputs)
        return super().call(inputs) if x is None else _finished(self, x)


class BatchNormalization(numerics.BatchNormalization):
    """That of Keras, as above."""

    def call(self, inputs, training=None, mask=None) -> Tensor:
        if keras.config.backend() == "torch" and not (training and self.trainable) and mask is None:
            from kzoo.layers.convolutions_torch import normed

            held = (self.gamma, self.beta, self.moving_mean, self.moving_variance)
            x = normed(value_of(inputs), *map(value_of, held), self.epsilon)
            if x is not None:
                return x
        return super().call(inputs, training=training, mask=mask)


def _finished(layer, x):
    """What a layer gives of what its kernel gave."""
    x = ops.add(x, layer.bias) if layer.use_bias else x
    return x if layer.activation is None else layer.activation(x)


def _padding(layer):
    """Zeros before rows and columns, as many as behind them; None where a layer is not so, or none of ours."""
    if layer.data_format != _LAST or tuple(layer.dilation_rate) != (1, 1):
        return None
    if layer.padding == "valid":
        return 0, 0
    middle = tuple(layer.strides) == (1, 1) and all(side % 2 for side in layer.kernel_size)
    return tuple(side // 2 for side in layer.kernel_size) if middle else None


def _by_torch(layer, x, groups):
    """A map under the kernel of a layer, or None: the operations of Keras are used."""
    if keras.config.backend() != "torch" or (padding := _padding(layer)) is None:
        return None
    from kzoo.layers.convolutions_torch import convolved

    return convolved(value_of(x), value_of(layer.kernel), tuple(layer.strides), padding, groups)


def _by_jax(layer, x):
    """As above, of a filter for each channel."""
    if keras.config.backend() != "jax" or (padding := _padding(layer)) is None:
        return None
    from kzoo.layers.depthwise_jax import convolved

    (rows, columns), x = padding, value_of(x)
    if rows or columns:
        x = ops.pad(x, ((0, 0), (rows, rows), (columns, columns), (0, 0)))
    return convolved(x, value_of(layer.kernel), tuple(layer.strides))


@keras.saving.register_keras_serializable(package="kzoo")
class ConvNorm(Mergeable, Configured, keras.layers.Layer):
    """Convolution without a bias, batch norm, activation.

    Args:
        filters: output channels; `multiplier` times those of the input where `depthwise`.
        kernel_size: side of the kernel.
        strides: in pixels.
        padding: zeros on each side, or `(before, after)` for both axes.
        activation: name, or None.
        depthwise: each output channel reads one channel.
        epsilon: of the norm.
        momentum: share of the running statistics that a training step keeps.
        multiplier: output channels of each channel, where `depthwise`.
        merged: a bias in the place of the norm, for the numbers of `folded`.

    Inputs:
        float tensor `(batch, height, width, channels)`.

    Returns:
        float tensor `(batch, rows, columns, filters)`, float32 behind a norm.

    Example:
        >>> ConvNorm(16, kernel_size=3, strides=2, padding=1, activation="relu")(np.zeros((2, 32, 32, 3))).shape
        (2, 16, 16, 16)

    Reference:
        Ioffe and Szegedy, Batch Normalization, 2015, arXiv 1502.03167.
    """

    arguments = {"multiplier": COUNT, "merged": FLAG}

    def __init__(
        self,
        filters,
        kernel_size=1,
        strides=1,
        padding=0,
        activation=None,
        depthwise=False,
        epsilon=1e-5,
        momentum=0.9,
        multiplier=1,
        merged=False,
        **kwargs,
    ):
        super().__init__(**kwargs)
        policy = self.dtype_policy
        # a kernel of one pixel strides over pixels that it never reads: they are left out before it, since in torch and
        # TensorFlow oneDNN's gradient of such a kernel that strides writes beyond its memory on CPUs (few channels)
        skips = kernel_size == 1 and keras.config.backend() != "jax"
        self.skip, strides = (strides, 1) if skips else (1, strides)
        common = {"strides": strides, "use_bias": merged, "data_format": _LAST, "dtype": policy, "name": "convolution"}

        # -- layers --
        self.pad = None
        if padding:
            before, after = (padding, padding) if isinstance(padding, int) else padding
            sides = ((before, after), (before, after))
            self.pad = keras.layers.ZeroPadding2D(sides, data_format=_LAST, dtype=policy, name="pad")
        initial = HeNormal(depthwise)
        if depthwise:
            self.convolution = DepthwiseConv2D(
                kernel_size, depth_multiplier=multiplier, depthwise_initializer=initial, **common
            )
        else:
            self.convolution = Conv2D(filters, kernel_size, kernel_initializer=initial, **common)
        self.norm = None if merged else batch_norm(epsilon, momentum, "norm")
        self.depthwise, self.activation = depthwise, activation and activation_function(activation)

    def build(self, x_shape) -> None:
        if self.pad is not None:
            self.pad.build(x_shape)  # Keras on jax runs a model operation by operation if any layer of it is not built
            x_shape = self.pad.compute_output_shape(x_shape)
        self.convolution.build(x_shape)
        if self.norm is not None:
            self.norm.build(self.convolution.compute_output_shape(x_shape))

    def compute_output_shape(self, x_shape) -> tuple:
        if self.pad is not None:
            x_shape = self.pad.compute_output_shape(x_shape)
        rows, columns = (side and -(-side // self.skip) for side in x_shape[1:3])
        return self.convolution.compute_output_shape((x_shape[0], rows, columns, x_shape[3]))

    # -- forward --
    def call(self, x, training=None) -> Tensor:
        if self.pad is not None:
            x = self.pad(x)
        if self.skip > 1:
            x = x[:, :: self.skip, :: self.skip]
        x = self.convolution(x)
        if self.norm is not None:
            x = self.norm(x, training=training)
        return x if self.activation is None else self.activation(x)

    def folded(self) -> tuple:
        """Kernel and bias, float64 arrays, of the convolution alone that gives these numbers while not training."""
        kernel, (gain, shift) = as_float64(self.convolution.kernel), gain_and_shift(self.norm)
        return kernel * (gain.reshape(kernel.shape[2:]) if self.depthwise else gain), shift

    def fill(self, kernel, bias) -> None:
        """Put the arrays of `folded` into a layer that is `merged`."""
        assign_arrays((self.convolution.kernel, kernel), (self.convolution.bias, bias))

    def take_merged(self, other) -> None:
        """The numbers of the same layer with a norm."""
        self.fill(*other.folded())


def batch_norm(epsilon, momentum, name) -> Any:
    """A batch norm whose weights and arithmetic are float32 under every dtype policy."""
    return BatchNormalization(epsilon=epsilon, momentum=momentum, dtype="float32", name=name)


def gain_and_shift(norm) -> tuple:
    """What a batch norm multiplies by and adds while not training, float64 arrays `(channels,)`."""
    gain = as_float64(norm.gamma) / np.sqrt(as_float64(norm.moving_variance) + norm.epsilon)
    return gain, as_float64(norm.beta) - as_float64(norm.moving_mean) * gain


def assign_arrays(*pairs) -> None:
    """Give weights arrays of float64: `(weight, array)` each."""
    for weight, array in pairs:
        weight.assign(ops.convert_to_tensor(array.astype("float32"), weight.dtype))


def as_float64(weight) -> np.ndarray:
    """A weight as NumPy computes with it."""
    return ops.convert_to_numpy(ops.cast(weight, "float32")).astype("float64")


def average_pool(size, policy, name) -> Any:
    """The mean of blocks of `size` x `size` pixels; rows and columns beyond the last whole block are dropped."""
    return keras.layers.AveragePooling2D(size, data_format=_LAST, dtype=policy, name=name)


def max_pool(size, strides, policy, name) -> Any:
    """The maximum of windows of `size` x `size` pixels, without padding."""
    return keras.layers.MaxPooling2D(size, strides, data_format=_LAST, dtype=policy, name=name)


def feature_tokens(x) -> Tensor:
    """A feature map `(batch, rows, columns, channels)` as tokens `(batch, rows * columns, channels)`, row by row."""
    return ops.reshape(x, (-1, x.shape[1] * x.shape[2], x.shape[3]))
