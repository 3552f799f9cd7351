"""What mixes the tokens of a text by convolutions along it: branches while it trains, one convolution once merged."""

import keras
import numpy as np
from keras import ops

from kzoo.arguments import FINITE, FLAG, whole
from kzoo.layers.attention import dense
from kzoo.layers.changed import copy_weights
from kzoo.layers.configured import Configured
from kzoo.layers.convolution import as_float64, assign_arrays, batch_norm, gain_and_shift
from kzoo.layers.initializers import Normal
from kzoo.layers.merging import Mergeable
from kzoo.layers.numerics import activation_function
from kzoo.layers.transformer import LayerScale
from kzoo.types import Tensor

LARGEST_KERNEL = 255  # tokens
KERNEL = {"kernel_size": whole(1, LARGEST_KERNEL), "merged": FLAG}


@keras.saving.register_keras_serializable(package="kzoo")
class LengthConv(Mergeable, Configured, keras.layers.Layer):
    """Depthwise convolution along the tokens with zeros around them, then a batch norm.

    It is written as the sum of shifted products that it is: kernels of few channels along one axis have gradients on
    CPUs that not every backend computes rightly.

    Args:
        kernel_size: tokens, an odd number.
        epsilon: of the norm.
        momentum: share of the running statistics that a training step keeps.
        merged: a bias in the place of the norm.

    Inputs:
        float tensor `(batch, length, channels)`.

    Returns:
        float tensor of the same shape, of the dtype of the layer.

    Raises:
        ValueError: a kernel that is even.
    """

    arguments = KERNEL

    def __init__(self, kernel_size=11, epsilon=1e-5, momentum=0.9, merged=False, **kwargs):
        super().__init__(**kwargs)
        if kernel_size % 2 == 0:
            raise ValueError(f"kernel_size is {kernel_size}, but an odd number is expected: a token has a middle.")
        self.kernel_size, self.merged = kernel_size, merged
        self.norm = None if merged else batch_norm(epsilon, momentum, "norm")

    def build(self, x_shape) -> None:
        channels = x_shape[-1]
        initial = Normal(stddev=(2.0 / self.kernel_size) ** 0.5)
        self.kernel = self.add_weight(name="kernel", shape=(self.kernel_size, channels), initializer=initial)
        self.bias = None
        if self.merged:
            self.bias = self.add_weight(name="bias", shape=(channels,), initializer="zeros")
        else:
            self.norm.build(x_shape)

    # -- forward --
    def call(self, x, training=None) -> Tensor:
        length, border = x.shape[1], self.kernel_size // 2
        x = ops.pad(x, ((0, 0), (border, border), (0, 0)))
        kernel = ops.cast(ops.convert_to_tensor(self.kernel), x.dtype)
        summed = x[:, :length] * kernel[0]
        for shift in range(1, self.kernel_size):
            summed = ops.add(summed, x[:, shift : shift + length] * kernel[shift])
        if self.merged:
            return ops.add(summed, ops.cast(ops.convert_to_tensor(self.bias), x.dtype))
        return ops.cast(self.norm(summed, training=training), self.compute_dtype)

    def folded(self) -> tuple:
        """Kernel and bias, float64 arrays, of the convolution alone that gives these numbers while not training."""
        gain, shift = gain_and_shift(self.norm)
        return as_float64(self.kernel) * gain, shift

    def fill(self, kernel, bias) -> None:
        """Put the arrays of `folded` into a layer that is `merged`."""
        assign_arrays((self.kernel, kernel), (self.bias, bias))

    def take_merged(self, other) -> None:
        self.fill(*other.folded())


@keras.saving.register_keras_serializable(package="kzoo")
class LengthMixer(Mergeable, Configured, keras.layers.Layer):
    """`x + scale (conv(x) + norm(x) - other_norm(x))`, then `x + scale mlp(conv(x))`: RepMixer along a text.

    Args:
        mlp_dim: hidden width of the MLP.
        kernel_size: of both convolutions, in tokens, an odd number.
        activation: of the MLP.
        layer_scale: initial gain of both branches, or None for no gain.
        epsilon, momentum: of the batch norms.
        merged: the first sum as one convolution, and the norm of the second in its kernel.

    Inputs:
        float tensor `(batch, length, channels)`.

    Returns:
        float tensor of the same shape.

    Example:
        >>> LengthMixer(mlp_dim=32, kernel_size=5)(np.zeros((2, 7, 8))).shape
        (2, 7, 8)

    Reference:
        Vasu et al., FastViT, 2023, arXiv 2303.14189; of texts: Vasu et al., MobileCLIP, 2023, arXiv 2311.17049.
    """

    arguments = KERNEL | {"layer_scale": FINITE | None}

    def __init__(
        self,
        mlp_dim,
        kernel_size=11,
        activation="gelu",
        layer_scale=1e-5,
        epsilon=1e-5,
        momentum=0.9,
        merged=False,
        **kwargs,
    ):
        super().__init__(**kwargs)
        policy = self.dtype_policy
        common = {"epsilon": epsilon, "momentum": momentum, "merged": merged, "dtype": policy}
        self.mlp_dim, self.merged, self.activation = mlp_dim, merged, activation_function(activation)

        # -- layers --
        self.mixer = LengthConv(kernel_size, name="mixer", **common)
        self.identity = self.norm = self.mixer_scale = self.mlp_scale = None
        if not merged:
            self.identity = batch_norm(epsilon, momentum, "identity")
            self.norm = batch_norm(epsilon, momentum, "norm")
        if layer_scale is not None:
            self.mixer_scale = None if merged else LayerScale(layer_scale, dtype=policy, name="mixer_scale")
            self.mlp_scale = LayerScale(layer_scale, dtype=policy, name="mlp_scale")
        self.conv = LengthConv(kernel_size, name="conv", **common)

    def build(self, x_shape) -> None:
        width, policy = x_shape[-1], self.dtype_policy
        self.up = dense(self.mlp_dim, 0.02, policy, "up")
        self.down = dense(width, 0.02, policy, "down")
        self.down.build((*x_shape[:-1], self.mlp_dim))
        for layer in (self.mixer, self.identity, self.norm, self.mixer_scale, self.conv, self.up, self.mlp_scale):
            if layer is not None:
                layer.build(x_shape)

    # -- forward --
    def call(self, x, training=None) -> Tensor:
        mixed = self.mixer(x, training=training)
        if self.merged:
            x = mixed
        else:
            norms = ops.subtract(self.identity(x, training=training), self.norm(x, training=training))
            mixed = ops.add(mixed, ops.cast(norms, self.compute_dtype))
            x = ops.add(x, mixed if self.mixer_scale is None else self.mixer_scale(mixed))
        mixed = self.down(self.activation(self.up(self.conv(x, training=training))))  # hidden: (batch, length, mlp_dim)
        return ops.add(x, mixed if self.mlp_scale is None else self.mlp_scale(mixed))

    def take_merged(self, other) -> None:
        kernel, bias = other.mixer.folded()
        scale = 1.0 if other.mixer_scale is None else as_float64(other.mixer_scale.gain)
        middle = np.zeros_like(kernel)
        (gain, shift), (other_gain, other_shift) = gain_and_shift(other.identity), gain_and_shift(other.norm)
        middle[len(kernel) // 2] = 1.0
        self.mixer.fill((kernel + (gain - other_gain) * middle) * scale + middle, (bias + shift - other_shift) * scale)
        self.conv.take_merged(other.conv)
        for name in ("up", "down", "mlp_scale"):
            if getattr(self, name) is not None:
                copy_weights(getattr(other, name), getattr(self, name))
