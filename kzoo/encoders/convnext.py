"""ConvNeXt, the convolutional image tower of open_clip's largest convolutional models."""

import keras
from keras import ops

from kzoo.arguments import COUNT, FINITE, FLAG, sequence
from kzoo.encoders.pixels import CLIP_MEAN, CLIP_STD
from kzoo.encoders.stages import StagedTower, of_stages
from kzoo.layers.configured import Configured
from kzoo.layers.convolution import Conv2D, DepthwiseConv2D, feature_tokens
from kzoo.layers.initializers import Normal
from kzoo.layers.linear import dense
from kzoo.layers.numerics import activation_function, layer_norm
from kzoo.layers.patch_embedding import as_size, image_grid
from kzoo.layers.projection import tower_projection
from kzoo.layers.transformer import LayerScale
from kzoo.types import Tensor

EXPANSION = 4  # channels inside a block, in units of those that enter
REDUCED = 2  # pixels of a stem that is followed by one more reduction: the first stage sees a quarter of the picture
STDDEV = 0.02  # that all kernels start from
_LAST = "channels_last"


@keras.saving.register_keras_serializable(package="kzoo")
class ConvNeXt(StagedTower):
    """ConvNeXt image tower with the normalisation of raw pixels inside; the embedding is the last map's mean, normed.

    Args:
        image_size: side in pixels, or `(height, width)`.
        depths: number of blocks of each stage, such as `(3, 3, 27, 3)`.
        widths: channels of each stage, such as `(128, 256, 512, 1024)`.
        embed_dim: width of the embedding; None for no projection.
        hidden_dim: width between two layers of the projection, with a GELU; None for one layer.
        projection_bias: bias of its last layer.
        patch_size: side of the stem's convolution, which strides as far. Each stage but the first halves the map; the
            first does, too, after a stem of 2.
        kernel_sizes: side of the depthwise kernels, odd, or one for each stage.
        layer_scale: initial gain of the blocks, or None.
        activation: in the blocks.
        epsilon: of the layer norms.
        mean, std: per channel, in units of [0, 1] pixels.

    Inputs:
        images: uint8 or float tensor `(batch, height, width, 3)`, values in [0, 255].
        any_size: take images of another size than `image_size`.

    Returns:
        dict: `"embedding"` `(batch, embed_dim)`, not normalised; `"tokens"` `(batch, rows * columns, widths[-1])`,
        the last feature map, before the norm.

    Raises:
        ValueError: lists of another length than `depths`, even kernels, an image that the stages leave nothing of,
            images of another shape.

    Example:
        >>> tower = ConvNeXt(image_size=64, depths=(1, 1, 2, 1), widths=(8, 16, 24, 32), embed_dim=16)
        >>> tower(np.zeros((2, 64, 64, 3), "uint8"))["embedding"].shape
        (2, 16)

    Reference:
        Liu et al., A ConvNet for the 2020s, 2022, arXiv 2201.03545; in CLIP: Ilharco et al., OpenCLIP, 2021.
    """

    kind, title = "convnext", "ConvNeXt"
    arguments = {
        "depths": sequence(COUNT, "blocks of each stage, at least 1", 1),
        "kernel_sizes": COUNT | sequence(COUNT, "one for each stage", 1),
        "layer_scale": FINITE | None,
    }

    def __init__(
        self,
        image_size,
        depths,
        widths,
        embed_dim=None,
        hidden_dim=None,
        projection_bias=False,
        patch_size=4,
        kernel_sizes=7,
        layer_scale=1e-6,
        activation="gelu",
        epsilon=1e-6,
        mean=CLIP_MEAN,
        std=CLIP_STD,
        **kwargs,
    ):
        # no autocast: pixels are normalised in float32, each sub-layer casts for itself
        super().__init__(autocast=False, **kwargs)
        kernel_sizes = of_stages("kernel_sizes", kernel_sizes, depths)
        widths = of_stages("widths", widths, depths)
        halves = [stage > 0 or patch_size == REDUCED for stage in range(len(depths))]
        self.image_size = as_size(image_size)
        image_grid(self.image_size, patch_size * 2 ** sum(halves))  # stops where the last feature map would be empty
        self.mean, self.std = tuple(mean), tuple(std)
        self.token_dim = widths[-1]
        self.embed_dim = embed_dim or self.token_dim
        policy = self.dtype_policy

        # -- layers --
        self.stem = _reduction(patch_size, widths[0], policy, "stem")
        self.stem_norm = layer_norm(epsilon, "stem_norm")
        self.stages = [
            ConvNeXtStage(
                depth, width, kernel_size, half, layer_scale, activation, epsilon, dtype=policy, name=f"stage_{stage}"
            )
            for stage, (depth, width, kernel_size, half) in enumerate(zip(depths, widths, kernel_sizes, halves))
        ]
        self.post_norm = layer_norm(epsilon, "post_norm")
        self.projection = tower_projection(embed_dim, hidden_dim, self.token_dim, projection_bias, policy)
        self.build((None, *self.image_size, 3))

    # -- forward --
    def _pooled(self, x):
        tokens = feature_tokens(x)  # (batch, rows * columns, widths[-1])
        return self.post_norm(ops.mean(tokens, axis=1)), tokens


@keras.saving.register_keras_serializable(package="kzoo")
class ConvNeXtStage(Configured, keras.layers.Layer):
    """A norm and a convolution that halve the map, where asked for, and blocks.

    Args:
        depth: number of blocks.
        width: channels that leave.
        kernel_size: see `ConvNeXtBlock`.
        half: whether rows and columns are halved first.
        layer_scale, activation, epsilon: see `ConvNeXt`.

    Inputs:
        float tensor `(batch, rows, columns, channels)`.

    Returns:
        float tensor `(batch, rows, columns, width)`, of half as many rows and columns where `half`.
    """

    arguments = {"layer_scale": FINITE | None, "half": FLAG}

    def __init__(
        self, depth, width, kernel_size=7, half=True, layer_scale=1e-6, activation="gelu", epsilon=1e-6, **kwargs
    ):
        super().__init__(**kwargs)
        policy = self.dtype_policy

        # -- layers --
        self.norm = layer_norm(epsilon, "norm") if half else None
        self.reduction = _reduction(2, width, policy, "reduction") if half else None
        self.blocks = [
            ConvNeXtBlock(width, kernel_size, layer_scale, activation, epsilon, dtype=policy, name=f"block_{index}")
            for index in range(depth)
        ]

    def build(self, x_shape) -> None:
        if self.reduction is not None:
            self.norm.build(x_shape)
            self.reduction.build(x_shape)
        for block in self.blocks:
            block.build(self.compute_output_shape(x_shape))

    def compute_output_shape(self, x_shape) -> tuple:
        return x_shape if self.reduction is None else self.reduction.compute_output_shape(x_shape)

    # -- forward --
    def call(self, x) -> Tensor:
        if self.reduction is not None:
            x = self.reduction(self.norm(x))
        for block in self.blocks:
            x = block(x)
        return x


@keras.saving.register_keras_serializable(package="kzoo")
class ConvNeXtBlock(Configured, keras.layers.Layer):
    """`x + scale(mlp(norm(depthwise(x))))`: what mixes positions first, what mixes channels after it.

    Args:
        width: channels.
        kernel_size: side of the depthwise kernel, odd.
        layer_scale, activation, epsilon: see `ConvNeXt`.

    Inputs:
        float tensor `(batch, rows, columns, width)`.

    Returns:
        float tensor of the same shape.

    Raises:
        ValueError: an even kernel.
    """

    arguments = {"layer_scale": FINITE | None, "kernel_size": COUNT}

    def __init__(self, width, kernel_size=7, layer_scale=1e-6, activation="gelu", epsilon=1e-6, **kwargs):
        super().__init__(**kwargs)
        if kernel_size % 2 == 0:
            raise ValueError(f"a depthwise kernel of {kernel_size} has no middle; choose an odd size, such as 7.")
        policy = self.dtype_policy

        # -- layers --
        self.depthwise = DepthwiseConv2D(
            kernel_size,
            padding="same",
            data_format=_LAST,
            depthwise_initializer=Normal(stddev=STDDEV),
            dtype=policy,
            name="depthwise",
        )
        self.norm = layer_norm(epsilon, "norm")
        self.mlp_up = dense(EXPANSION * width, STDDEV, policy, "mlp_up")
        self.mlp_down = dense(width, STDDEV, policy, "mlp_down")
        self.scale = None if layer_scale is None else LayerScale(layer_scale, dtype=policy, name="scale")
        self.activation = activation_function(activation)

    def build(self, x_shape) -> None:
        for layer in (self.depthwise, self.norm, self.mlp_up, self.scale):
            if layer is not None:
                layer.build(x_shape)
        self.mlp_down.build((*x_shape[:-1], self.mlp_up.units))

    # -- forward --
    def call(self, x) -> Tensor:
        mixed = self.norm(self.depthwise(x))
        mixed = self.mlp_down(self.activation(self.mlp_up(mixed)))
        return x + (mixed if self.scale is None else self.scale(mixed))


def _reduction(side, width, policy, name):
    """A convolution of patches that do not overlap."""
    kernel = Normal(stddev=STDDEV)
    return Conv2D(width, side, strides=side, data_format=_LAST, kernel_initializer=kernel, dtype=policy, name=name)
