"""The stages of FastViT: strided convolutions, then blocks that mix positions by convolutions or by attention."""

import keras
from keras import ops

from kzoo.arguments import COUNT, FINITE, FLAG, POSITIVE, one_of
from kzoo.layers.attention import Attention
from kzoo.layers.branches import BranchedConv, ConditionalPositions, RepMixer, multiplier, rounded_share
from kzoo.layers.configured import Configured
from kzoo.layers.convolution import ConvNorm, batch_norm, feature_tokens
from kzoo.layers.linear import dense
from kzoo.layers.merging import Mergeable
from kzoo.layers.numerics import activation_function, layer_norm
from kzoo.layers.repeated import Repeated
from kzoo.layers.transformer import LayerScale
from kzoo.types import Tensor

MIXERS, NORMS = ("repmixer", "attention"), ("batch", "layer")
HEAD_WIDTH = 32  # channels of an attention head
SIDE = 7  # of the kernels that tell positions, and of those before the MLPs


@keras.saving.register_keras_serializable(package="kzoo")
class Stage(Mergeable, Configured, keras.layers.Layer):
    """Strided convolutions, a convolution that tells positions apart, and blocks.

    Args:
        width_before: channels that enter.
        depth: number of blocks.
        width: channels that leave.
        mlp_ratio, mixer, positions, downsample, squeeze: of this stage, as `FastViT` has them for each.
        mixer_kernel, down_kernel, down_strides, down_activation, layer_scale, norm: see `FastViT`.
        activation, epsilon, momentum, merged: see `FastViT`.

    Inputs:
        float tensor `(batch, height, width, width_before)`.

    Returns:
        float tensor `(batch, rows, columns, width)`.
    """

    arguments = {
        "width_before": COUNT,
        "layer_scale": FINITE | None,
        "mixer": one_of(*MIXERS),
        "norm": one_of(*NORMS),
        "mlp_ratio": POSITIVE,
    }
    arguments |= dict.fromkeys(("mixer_kernel", "down_kernel", "down_strides"), COUNT)
    arguments |= dict.fromkeys(("positions", "downsample", "squeeze", "merged", "down_activation"), FLAG)

    def __init__(
        self,
        width_before,
        depth,
        width,
        mlp_ratio,
        mixer,
        positions,
        downsample,
        squeeze,
        mixer_kernel=3,
        down_kernel=7,
        down_strides=2,
        down_activation=True,
        layer_scale=1e-5,
        norm="batch",
        activation="gelu",
        epsilon=1e-5,
        momentum=0.9,
        merged=False,
        **kwargs,
    ):
        super().__init__(**kwargs)
        policy = self.dtype_policy
        common = {"epsilon": epsilon, "momentum": momentum, "merged": merged, "dtype": policy}

        # -- layers --
        self.downsample = []
        if downsample:
            self.downsample = [
                BranchedConv(
                    width,
                    (down_kernel, 3),
                    down_strides,
                    multiplier(width_before, width),
                    squeeze=rounded_share(width, 0.25, 8) if squeeze else None,
                    activation=activation if down_activation else None,
                    name="down_1",
                    **common,
                ),
                BranchedConv(width, (1,), identity=True, activation=activation, name="down_2", **common),
            ]
        self.positions = ConditionalPositions(SIDE, merged, dtype=policy, name="positions") if positions else None
        common |= {"mlp_dim": int(width * mlp_ratio), "activation": activation, "layer_scale": layer_scale}
        if mixer == "attention":
            self.blocks = [AttentionBlock(width, norm=norm, name=f"block_{index}", **common) for index in range(depth)]
        else:
            self.blocks = [MixerBlock(mixer_kernel, name=f"block_{index}", **common) for index in range(depth)]

    @property
    def parts(self) -> tuple:
        """Its layers in their order."""
        return (*self.downsample, *([] if self.positions is None else [self.positions]), *self.blocks)

    def build(self, x_shape) -> None:
        for layer in self.parts:
            layer.build(x_shape)
            if layer in self.downsample:
                x_shape = layer.compute_output_shape(x_shape)

    def compute_output_shape(self, x_shape) -> tuple:
        for layer in self.downsample:
            x_shape = layer.compute_output_shape(x_shape)
        return x_shape

    # -- forward --
    def call(self, x, training=None) -> Tensor:
        for layer in self.downsample:
            x = layer(x, training=training)
        if self.positions is not None:
            x = self.positions(x)
        for block in self.blocks:
            x = block(x, training=training)
        return x


@keras.saving.register_keras_serializable(package="kzoo")
class MixerBlock(Repeated, Mergeable, Configured, keras.layers.Layer):
    """`RepMixer`, then `x + scale mlp(x)`.

    Args:
        mixer_kernel: side of the kernel of the RepMixer.
        mlp_dim, activation, layer_scale: see `ConvMLP` and `FastViT`.
        epsilon, momentum, merged: see `FastViT`.
    """

    arguments = {"mixer_kernel": COUNT, "layer_scale": FINITE | None, "merged": FLAG}

    def __init__(
        self,
        mixer_kernel,
        mlp_dim,
        activation="gelu",
        layer_scale=1e-5,
        epsilon=1e-5,
        momentum=0.9,
        merged=False,
        **kwargs,
    ):
        super().__init__(**kwargs)
        common = {"epsilon": epsilon, "momentum": momentum, "merged": merged, "dtype": self.dtype_policy}
        self.mixer = RepMixer(mixer_kernel, layer_scale, name="mixer", **common)
        self.mlp = ConvMLP(mlp_dim, activation, layer_scale, name="mlp", **common)

    @property
    def parts(self) -> tuple:
        """Its layers in their order."""
        return self.mixer, self.mlp

    def build(self, x_shape) -> None:
        for layer in self.parts:
            layer.build(x_shape)

    # -- forward --
    def call(self, x, training=None) -> Tensor:
        return self.mlp(self.mixer(x, training=training), training=training)


@keras.saving.register_keras_serializable(package="kzoo")
class AttentionBlock(Repeated, Mergeable, Configured, keras.layers.Layer):
    """`x + scale attention(norm(x))` over all positions of the map, then `x + scale mlp(x)`.

    Args:
        width: channels, a multiple of 32; each head has 32.
        norm: `"batch"` or `"layer"`.
        mlp_dim, activation, layer_scale: see `ConvMLP` and `FastViT`.
        epsilon, momentum, merged: see `FastViT`.

    Raises:
        ValueError: the heads do not divide the width.
    """

    arguments = {"norm": one_of(*NORMS), "layer_scale": FINITE | None, "merged": FLAG}

    def __init__(
        self,
        width,
        mlp_dim,
        norm="batch",
        activation="gelu",
        layer_scale=1e-5,
        epsilon=1e-5,
        momentum=0.9,
        merged=False,
        **kwargs,
    ):
        super().__init__(**kwargs)
        if width % HEAD_WIDTH:
            raise ValueError(f"a stage with attention has {width} channels; give a multiple of {HEAD_WIDTH}.")
        policy = self.dtype_policy
        self.norm = batch_norm(epsilon, momentum, "norm") if norm == "batch" else layer_norm(epsilon, "norm")
        self.attention = Attention(width, width // HEAD_WIDTH, bias="out", dtype=policy, name="attention")
        self.scale = None if layer_scale is None else LayerScale(layer_scale, dtype=policy, name="scale")
        common = {"epsilon": epsilon, "momentum": momentum, "merged": merged, "dtype": policy}
        self.mlp = ConvMLP(mlp_dim, activation, layer_scale, name="mlp", **common)
        self.batch = norm == "batch"

    @property
    def parts(self) -> tuple:
        """Its layers in their order."""
        layers = (self.norm, self.attention, self.scale, self.mlp)
        return tuple(layer for layer in layers if layer is not None)

    def build(self, x_shape) -> None:
        for layer in self.parts:
            layer.build((None, None, x_shape[-1]) if layer is self.attention else x_shape)

    # -- forward --
    def call(self, x, training=None) -> Tensor:
        normed = self.norm(x, training=training) if self.batch else self.norm(x)
        mixed = self.attention(feature_tokens(normed))  # (batch, height * width, channels)
        if self.scale is not None:
            mixed = self.scale(mixed)
        x = ops.add(x, ops.reshape(mixed, (-1, *x.shape[1:])))
        return self.mlp(x, training=training)


@keras.saving.register_keras_serializable(package="kzoo")
class ConvMLP(Mergeable, Configured, keras.layers.Layer):
    """`x + scale down(activation(up(norm(conv(x)))))`: a depthwise convolution, then a MLP at each position.

    Args:
        mlp_dim: hidden channels of the MLP.
        activation: name.
        layer_scale: initial gain of each channel, or None for no gain.
        epsilon, momentum: of the batch norm.
        merged: the norm in the kernel of the convolution.

    Inputs:
        float tensor `(batch, height, width, channels)`.

    Returns:
        float tensor of the same shape.
    """

    arguments = {"layer_scale": FINITE | None, "merged": FLAG}

    def __init__(
        self,
        mlp_dim,
        activation="gelu",
        layer_scale=1e-5,
        epsilon=1e-5,
        momentum=0.9,
        merged=False,
        **kwargs,
    ):
        super().__init__(**kwargs)
        policy = self.dtype_policy
        norms = {"epsilon": epsilon, "momentum": momentum, "merged": merged}
        self.conv = ConvNorm(1, SIDE, padding=SIDE // 2, depthwise=True, dtype=policy, name="conv", **norms)
        self.mlp_dim, self.activation = mlp_dim, activation_function(activation)
        self.scale = None if layer_scale is None else LayerScale(layer_scale, dtype=policy, name="scale")

    def build(self, x_shape) -> None:
        width, policy = x_shape[-1], self.dtype_policy
        self.up = dense(self.mlp_dim, 0.02, policy, "up")
        self.down = dense(width, 0.02, policy, "down")
        self.conv.build(x_shape)
        self.up.build(x_shape)
        self.down.build((*x_shape[:-1], self.mlp_dim))
        if self.scale is not None:
            self.scale.build(x_shape)

    @property
    def parts(self) -> tuple:
        """Its layers in their order."""
        return tuple(layer for layer in (self.conv, self.up, self.down, self.scale) if layer is not None)

    # -- forward --
    def call(self, x, training=None) -> Tensor:
        mixed = ops.cast(self.conv(x, training=training), self.compute_dtype)
        mixed = self.down(self.activation(self.up(mixed)))  # hidden: (batch, height, width, mlp_dim)
        return ops.add(x, mixed if self.scale is None else self.scale(mixed))
