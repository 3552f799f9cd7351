"""Sums of convolutions that a tower is trained with, and that inference merges into one convolution.

A convolution and a batch norm that does not train are linear, and so is their sum: one kernel gives the same numbers.
What has branches is `Mergeable`: it takes `merged=True` for that one kernel, and `take_merged` for its numbers.
"""

import math

import keras
import numpy as np
from keras import ops

from kzoo.arguments import COUNT, FINITE, FLAG, sequence, whole
from kzoo.layers.changed import copy_weights
from kzoo.layers.configured import Configured
from kzoo.layers.convolution import ConvNorm, as_float64, batch_norm, gain_and_shift
from kzoo.layers.linear import dense
from kzoo.layers.merging import Mergeable
from kzoo.layers.numerics import activation_function
from kzoo.layers.transformer import LayerScale
from kzoo.types import Tensor

LARGEST_KERNEL = 255  # side in pixels; larger ones are no convolutions


@keras.saving.register_keras_serializable(package="kzoo")
class BranchedConv(Mergeable, Configured, keras.layers.Layer):
    """`act(gate(sum_k norm_k(conv_k(x)) + norm(x)))`, with one branch for each kernel: the block of MobileOne.

    Args:
        filters: output channels.
        kernel_sizes: sides of the kernels, the largest first, such as `(3, 1)`.
        strides: in pixels.
        multiplier: output channels of each channel, of depthwise convolutions; None for dense ones.
        identity: add a batch norm of the input itself.
        squeeze: channels between the two layers of the gate, squeeze and excitation; None for no gate.
        activation: name, or None.
        epsilon, momentum: of the batch norms, as in `ConvNorm`.
        merged: one convolution in place of the sum.

    Inputs:
        float tensor `(batch, height, width, channels)`.

    Returns:
        float tensor `(batch, rows, columns, filters)`.

    Raises:
        ValueError: kernels that are even, or not the largest first.

    Example:
        >>> BranchedConv(16, (3, 1), strides=2, activation="gelu")(np.zeros((2, 32, 32, 3))).shape
        (2, 16, 16, 16)

    Reference:
        Vasu et al., MobileOne, 2022, arXiv 2206.04040; Ding et al., RepVGG, 2021, arXiv 2101.03697.
    """

    arguments = {
        "kernel_sizes": sequence(
            whole(1, LARGEST_KERNEL),
            "odd sides of kernels, the largest first, such as (3, 1)",
            1,
            rising=lambda sides: all(side % 2 for side in sides) and sides == sorted(sides, reverse=True),
        ),
        "strides": COUNT,
        "identity": FLAG,
        "squeeze": COUNT,
        "multiplier": COUNT,
        "merged": FLAG,
    }

    def __init__(
        self,
        filters,
        kernel_sizes,
        strides=1,
        multiplier=None,
        identity=False,
        squeeze=None,
        activation=None,
        epsilon=1e-5,
        momentum=0.9,
        merged=False,
        **kwargs,
    ):
        super().__init__(**kwargs)
        policy = self.dtype_policy
        common = {"epsilon": epsilon, "momentum": momentum, "merged": merged, "dtype": policy}
        if multiplier is not None:
            common |= {"depthwise": True, "multiplier": multiplier}

        # -- layers --
        self.branches = [
            ConvNorm(filters, side, strides, (strides + side) // 2 - 1, name=f"branch_{number}", **common)
            for number, side in enumerate(kernel_sizes[:1] if merged else kernel_sizes)
        ]
        self.identity = batch_norm(epsilon, momentum, "identity") if identity and not merged else None
        self.gate = Gate(squeeze, dtype=policy, name="gate") if squeeze is not None else None
        self.activation = activation and activation_function(activation)

    def build(self, x_shape) -> None:
        for branch in self.branches:
            branch.build(x_shape)
        if self.identity is not None:
            self.identity.build(x_shape)
        if self.gate is not None:
            self.gate.build(self.compute_output_shape(x_shape))

    def compute_output_shape(self, x_shape) -> tuple:
        return self.branches[0].compute_output_shape(x_shape)

    # -- forward --
    def call(self, x, training=None) -> Tensor:
        summed = self.branches[0](x, training=training)
        for branch in self.branches[1:]:
            summed = ops.add(summed, branch(x, training=training))
        if self.identity is not None:
            summed = ops.add(summed, self.identity(x, training=training))
        x = ops.cast(summed, self.compute_dtype)  # norms are float32
        if self.gate is not None:
            x = self.gate(x)
        return x if self.activation is None else self.activation(x)

    def folded(self) -> tuple:
        """Kernel and bias, float64 arrays, of the one convolution that gives the sum while not training."""
        kernel, bias = self.branches[0].folded()
        for branch in self.branches[1:]:
            smaller, shift = branch.folded()
            centre(kernel, len(smaller))[:] += smaller
            bias = bias + shift
        if self.identity is not None:
            gain, shift = gain_and_shift(self.identity)
            add_identity(kernel, gain, self.branches[0].depthwise)
            bias = bias + shift
        return kernel, bias

    def take_merged(self, other) -> None:
        self.branches[0].take_merged(other)
        if self.gate is not None:
            copy_weights(other.gate, self.gate)


def centre(kernel, side) -> np.ndarray:
    """The middle `side` x `side` of a kernel `(height, width, ...)`, a view: there lies a smaller kernel beside it."""
    border = (len(kernel) - side) // 2
    return kernel[border : border + side, border : border + side]


def add_identity(kernel, gain, depthwise) -> None:
    """Add what gives each channel times `gain` to a kernel, in place."""
    gain = np.broadcast_to(gain, kernel.shape[2])
    centre(kernel, 1)[0, 0] += gain[:, None] if depthwise else np.diag(gain)


@keras.saving.register_keras_serializable(package="kzoo")
class Gate(Configured, keras.layers.Layer):
    """Squeeze and excitation: each channel times `sigmoid(excite(relu(squeeze(mean of the picture))))`.

    Args:
        squeeze: channels between the two layers.

    Inputs:
        float tensor `(batch, height, width, channels)`.

    Returns:
        float tensor of the same shape.

    Reference:
        Hu et al., Squeeze-and-Excitation Networks, 2017, arXiv 1709.01507.
    """

    arguments = {"squeeze": COUNT}

    def __init__(self, squeeze, **kwargs):
        super().__init__(**kwargs)
        self.squeezed = squeeze

    def build(self, x_shape) -> None:
        channels, policy = x_shape[-1], self.dtype_policy
        self.squeeze = dense(self.squeezed, channels**-0.5, policy, "squeeze")
        self.excite = dense(channels, self.squeezed**-0.5, policy, "excite")
        self.squeeze.build((None, channels))
        self.excite.build((None, self.squeezed))

    # -- forward --
    def call(self, x) -> Tensor:
        gate = ops.mean(x, axis=(1, 2))  # (batch, channels)
        gate = ops.sigmoid(self.excite(ops.relu(self.squeeze(gate))))
        return ops.multiply(x, ops.expand_dims(gate, (1, 2)))


@keras.saving.register_keras_serializable(package="kzoo")
class RepMixer(Mergeable, Configured, keras.layers.Layer):
    """`x + scale (mixer(x) - norm(x))` with a depthwise `BranchedConv`: mixes positions, merged into one convolution.

    Args:
        kernel_size: side of the kernel, odd.
        layer_scale: initial gain of each channel, or None for no gain.
        epsilon, momentum: of the batch norms.
        merged: one convolution in place of all.

    Inputs:
        float tensor `(batch, height, width, channels)`.

    Returns:
        float tensor of the same shape.

    Reference:
        Vasu et al., FastViT, 2023, arXiv 2303.14189.
    """

    arguments = {"layer_scale": FINITE | None, "merged": FLAG}

    def __init__(self, kernel_size=3, layer_scale=1e-5, epsilon=1e-5, momentum=0.9, merged=False, **kwargs):
        super().__init__(**kwargs)
        self.kernel_size, self.merged = kernel_size, merged
        self.norms = {"epsilon": epsilon, "momentum": momentum}

        # -- layers --
        self.norm = self.scale = None
        if not merged:
            self.norm = batch_norm(epsilon, momentum, "norm")
            if layer_scale is not None:
                self.scale = LayerScale(layer_scale, dtype=self.dtype_policy, name="scale")

    def build(self, x_shape) -> None:
        sides = (self.kernel_size, 1) if self.kernel_size > 1 else (1,)
        common = self.norms | {"merged": self.merged, "dtype": self.dtype_policy}
        self.mixer = BranchedConv(x_shape[-1], sides, multiplier=1, identity=True, name="mixer", **common)
        for layer in (self.mixer, self.norm, self.scale):
            if layer is not None:
                layer.build(x_shape)

    # -- forward --
    def call(self, x, training=None) -> Tensor:
        mixed = self.mixer(x, training=training)
        if self.merged:
            return mixed
        mixed = ops.subtract(mixed, ops.cast(self.norm(x, training=training), self.compute_dtype))
        return ops.add(x, mixed if self.scale is None else self.scale(mixed))

    def take_merged(self, other) -> None:
        kernel, bias = other.mixer.folded()
        gain, shift = gain_and_shift(other.norm)
        add_identity(kernel, -gain, depthwise=True)
        bias = bias - shift
        if other.scale is not None:
            scale = as_float64(other.scale.gain)
            kernel, bias = kernel * scale[:, None], bias * scale
        add_identity(kernel, 1.0, depthwise=True)
        self.mixer.branches[0].fill(kernel, bias)


@keras.saving.register_keras_serializable(package="kzoo")
class ConditionalPositions(Mergeable, Configured, keras.layers.Layer):
    """`x + conv(x)` with a depthwise convolution, whose zeros around the picture tell a position where it lies.

    Args:
        kernel_size: side of the kernel, odd.
        merged: the sum in the kernel of the convolution.

    Inputs:
        float tensor `(batch, height, width, channels)`.

    Returns:
        float tensor of the same shape.

    Reference:
        Chu et al., Conditional Positional Encodings for Vision Transformers, 2021, arXiv 2102.10882.
    """

    arguments = {"merged": FLAG}

    def __init__(self, kernel_size=7, merged=False, **kwargs):
        super().__init__(**kwargs)
        self.merged = merged
        self.conv = ConvNorm(
            1, kernel_size, 1, kernel_size // 2, depthwise=True, merged=True, dtype=self.dtype_policy, name="conv"
        )

    def build(self, x_shape) -> None:
        self.conv.build(x_shape)

    # -- forward --
    def call(self, x) -> Tensor:
        return self.conv(x) if self.merged else ops.add(x, self.conv(x))

    def take_merged(self, other) -> None:
        convolution = other.conv.convolution
        kernel = as_float64(convolution.kernel)
        add_identity(kernel, 1.0, depthwise=True)
        self.conv.fill(kernel, as_float64(convolution.bias))


def multiplier(before, width) -> int:
    """How many channels of `width` read each one of those before.

    Raises:
        ValueError: not the same number for each.
    """
    if width % before:
        raise ValueError(f"{width} channels cannot be made of {before}, as many of each; choose a multiple.")
    return width // before


def rounded_share(channels, share, divisor) -> int:
    """Channels times a share, to the nearest multiple of `divisor`, at least one."""
    return max(divisor, math.floor(channels * share + divisor / 2) // divisor * divisor)
