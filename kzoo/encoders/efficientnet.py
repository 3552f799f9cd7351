"""EfficientNet, the image tower of ALIGN."""

import math

import keras
from keras import ops

from kzoo.arguments import AMOUNT, POSITIVE, sequence
from kzoo.encoders.pixels import ImageTower, check_images, normalize_pixels
from kzoo.layers.configured import Configured
from kzoo.layers.convolution import ConvNorm, feature_tokens
from kzoo.layers.linear import dense
from kzoo.layers.patch_embedding import as_size

STEM = 32  # filters of the stem before scaling
# the seven stages before scaling: kernel, repeats, filters in, filters out, expansion, strides
STAGES = (
    (3, 1, 32, 16, 1, 1),
    (3, 2, 16, 24, 6, 2),
    (5, 2, 24, 40, 6, 2),
    (3, 3, 40, 80, 6, 2),
    (5, 3, 80, 112, 6, 1),
    (5, 4, 112, 192, 6, 2),
    (3, 1, 192, 320, 6, 1),
)


@keras.saving.register_keras_serializable(package="kzoo")
class EfficientNet(ImageTower):
    """EfficientNet image tower without the top convolution; the embedding is the mean of the last feature map.

    `keras.applications` has one with the same blocks, but with a top convolution and with the padding of even
    sizes; ALIGN's 289 pixels give odd ones.

    Args:
        image_size: side in pixels, or `(height, width)`.
        width_coefficient: scales the filters, rounded to multiples of `divisor`.
        depth_coefficient: scales the repeats of each stage, rounded up.
        stages: rows as in `STAGES`.
        divisor: see `width_coefficient`.
        se_ratio: filters of the squeeze, in units of those that enter the block.
        symmetric_padding: numbers of the strided blocks that pad both sides alike; the others pad one pixel less
            on the left and at the top.
        activation: of every convolution.
        epsilon: of the batch norms.
        momentum: share of the running statistics that a training step keeps.
        mean, std: per channel, in units of [0, 1] pixels.

    Inputs:
        images: uint8 or float tensor `(batch, height, width, 3)`, values in [0, 255].
        any_size: take images of another size than `image_size`.

    Returns:
        dict: `"embedding"` `(batch, embed_dim)`, not normalised; `"tokens"` `(batch, rows * columns, embed_dim)`,
        the last feature map.

    Raises:
        ValueError: images of another shape.

    Example:
        >>> tower = EfficientNet(image_size=65, width_coefficient=0.25, depth_coefficient=0.4)
        >>> tower(np.zeros((2, 65, 65, 3), "uint8"))["embedding"].shape
        (2, 80)

    Reference:
        Tan and Le, EfficientNet, 2019, arXiv 1905.11946; Jia et al., ALIGN, 2021, arXiv 2102.05918.
    """

    kind, title = "efficientnet", "EfficientNet"
    stack = "blocks"
    options = frozenset({"any_size"})
    arguments = {
        "width_coefficient": POSITIVE,
        "depth_coefficient": POSITIVE,
        "symmetric_padding": sequence(AMOUNT, "numbers of blocks, from 0"),
        "se_ratio": POSITIVE,
    }

    def __init__(
        self,
        image_size,
        width_coefficient,
        depth_coefficient,
        stages=STAGES,
        divisor=8,
        se_ratio=0.25,
        symmetric_padding=(),
        activation="silu",
        epsilon=1e-3,
        momentum=0.99,
        mean=(0.5, 0.5, 0.5),
        std=(0.5, 0.5, 0.5),
        **kwargs,
    ):
        super().__init__(autocast=False, **kwargs)
        self.image_size = as_size(image_size)
        self.mean, self.std = tuple(mean), tuple(std)
        common = {"activation": activation, "epsilon": epsilon, "momentum": momentum, "dtype": self.dtype_policy}

        def scaled(filters):
            return scaled_filters(filters, width_coefficient, divisor)

        # -- layers --
        self.stem = ConvNorm(scaled(STEM), 3, strides=2, padding=(0, 1), name="stem", **common)
        self.blocks = []
        for kernel_size, repeats, filters_in, filters_out, expansion, strides in stages:
            for repeat in range(math.ceil(depth_coefficient * repeats)):
                number = len(self.blocks)
                self.blocks.append(
                    InvertedBottleneck(
                        scaled(filters_out if repeat else filters_in),
                        scaled(filters_out),
                        kernel_size,
                        expansion,
                        1 if repeat else strides,
                        residual=repeat > 0,
                        symmetric_padding=number in symmetric_padding,
                        se_ratio=se_ratio,
                        name=f"block_{number}",
                        **common,
                    )
                )
        self.embed_dim = self.token_dim = scaled(stages[-1][3])
        self.build((None, *self.image_size, 3))

    def build(self, images_shape) -> None:
        shape = images_shape
        for layer in (self.stem, *self.blocks):
            layer.build(shape)
            shape = layer.compute_output_shape(shape)
        self.grid = shape[1:3]

    # -- forward --
    def call(self, images, training=None, any_size=False) -> dict:
        check_images(images.shape, self.image_size, any_size)
        x = normalize_pixels(images, self.mean, self.std)
        for layer in (self.stem, *self.blocks):
            x = layer(x, training=training)
        tokens = feature_tokens(x)  # (batch, rows * columns, embed_dim)
        return {"embedding": ops.mean(tokens, axis=1), "tokens": tokens}


def scaled_filters(filters, coefficient, divisor) -> int:
    """Filters times a coefficient, to the nearest multiple of `divisor` that is at most a tenth smaller."""
    wanted = filters * coefficient
    rounded = max(divisor, int(wanted + divisor / 2) // divisor * divisor)
    return rounded + divisor if rounded < 0.9 * wanted else rounded


@keras.saving.register_keras_serializable(package="kzoo")
class InvertedBottleneck(Configured, keras.layers.Layer):
    """Expand, depthwise convolution, squeeze and excite, project: the block MBConv.

    Args:
        filters_in, filters_out: channels that enter and leave.
        kernel_size: of the depthwise convolution.
        expansion: channels inside, in units of `filters_in`; 1 leaves the expansion out.
        strides: of the depthwise convolution.
        residual: add the input.
        symmetric_padding: of a strided convolution: `kernel // 2` on both sides, else one less before.
        se_ratio: filters of the squeeze, in units of `filters_in`.
        activation, epsilon, momentum: see `EfficientNet`.

    Reference:
        Sandler et al., MobileNetV2, 2018, arXiv 1801.04381; Hu et al., Squeeze-and-Excitation, 2017, arXiv 1709.01507.
    """

    def __init__(
        self,
        filters_in,
        filters_out,
        kernel_size,
        expansion,
        strides,
        residual,
        symmetric_padding=False,
        se_ratio=0.25,
        activation="silu",
        epsilon=1e-3,
        momentum=0.99,
        **kwargs,
    ):
        super().__init__(**kwargs)
        policy = self.dtype_policy
        common = {"epsilon": epsilon, "momentum": momentum, "dtype": policy}
        filters = filters_in * expansion
        half = kernel_size // 2
        padding = half if strides == 1 or symmetric_padding else (half - 1, half)

        # -- layers --
        self.expand = None
        if expansion != 1:
            self.expand = ConvNorm(filters, activation=activation, name="expand", **common)
        self.depthwise = ConvNorm(
            filters, kernel_size, strides, padding, activation, depthwise=True, name="depthwise", **common
        )
        squeezed = max(1, int(filters_in * se_ratio))
        self.squeeze = dense(squeezed, filters**-0.5, policy, "squeeze")
        self.excite = dense(filters, squeezed**-0.5, policy, "excite")
        self.project = ConvNorm(filters_out, name="project", **common)
        self.residual, self.activation = residual, self.depthwise.activation

    def build(self, x_shape) -> None:
        shape = x_shape
        for layer in (self.expand, self.depthwise, self.project):
            if layer is not None:
                layer.build(shape)
                shape = layer.compute_output_shape(shape)
        self.squeeze.build((None, self.excite.units))
        self.excite.build((None, self.squeeze.units))

    def compute_output_shape(self, x_shape) -> tuple:
        for layer in (self.expand, self.depthwise, self.project):
            if layer is not None:
                x_shape = layer.compute_output_shape(x_shape)
        return x_shape

    # -- forward --
    def call(self, x, training=None) -> dict:
        mixed = x if self.expand is None else self.expand(x, training=training)
        mixed = self.depthwise(mixed, training=training)
        gate = ops.mean(mixed, axis=(1, 2))  # (batch, filters)
        gate = ops.sigmoid(self.excite(self.activation(self.squeeze(gate))))
        # not `*` and `+`: norms are float32, the rest may be half precision
        mixed = self.project(ops.multiply(mixed, ops.expand_dims(gate, (1, 2))), training=training)
        return ops.add(mixed, x) if self.residual else mixed
