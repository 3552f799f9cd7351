"""Convolutions that make the tokens of a vision transformer, in place of one projection of each patch."""

from typing import Any

import keras
import numpy as np
from keras import ops

from kzoo.layers.configured import Configured
from kzoo.layers.convolution import Conv2D, ConvNorm, DepthwiseConv2D
from kzoo.layers.initializers import HeNormal
from kzoo.layers.linear import dense
from kzoo.layers.numerics import gelu, layer_norm
from kzoo.types import Tensor

STRIDE = 16  # pixels of a picture to a side of what a stem leaves
EPSILON = 1e-6
_LAST = "channels_last"


def stem_layer(kind, patch_size, width, stem_width, stages, policy) -> Any:
    """The layer that a `VisionTransformer` calls its stem; None for a projection of each patch.

    Args:
        kind: `"convolutions"`, `"padded_convolutions"`, `"mbconv"` or None.
        patch_size: side in pixels of what becomes one token.
        width, stem_width, stages: see `MBConvStem`.
        policy: of the layer.
    """
    if kind is None:
        return None
    if patch_size != STRIDE:
        raise ValueError(f"patch_size={patch_size} does not go with stem={kind!r}, which leaves a token for {STRIDE}.")
    if kind != "mbconv":
        return ConvolutionStem(width, kind == "padded_convolutions", dtype=policy, name="stem")
    return MBConvStem(width, stem_width or width, stages, dtype=policy, name="stem")


def convolution(filters, kernel_size, strides, policy, name) -> keras.layers.Conv2D:
    """A convolution with a bias and without padding."""
    return Conv2D(
        filters, kernel_size, strides, data_format=_LAST, kernel_initializer=HeNormal(), dtype=policy, name=name
    )


def framed(x) -> Tensor:
    """A map `(batch, rows, columns, channels)` with a frame of zeros, for a kernel of 3 x 3."""
    return ops.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))


def halved(shape, channels=None) -> tuple:
    """The shape of a map after a kernel of 3 x 3 with strides 2 on its frame."""
    batch, rows, columns, own = shape
    return batch, (rows + 1) // 2, (columns + 1) // 2, channels or own


@keras.saving.register_keras_serializable(package="kzoo")
class ConvolutionStem(Configured, keras.layers.Layer):
    """Three convolutions that do not overlap, of 4, 2 and 2 pixels, the first two with batch norm and GELU.

    Args:
        width: channels that come out; a quarter of them inside.
        padded: a row and a column of zeros before the first pixels, which moves all by one pixel, as in MobileCLIP's
            own code.

    Inputs:
        float tensor `(batch, height, width, 3)`; pixels beyond the last whole 16 are dropped.

    Returns:
        float tensor `(batch, height // 16, width // 16, width)`.

    Example:
        >>> ConvolutionStem(width=64)(np.zeros((2, 32, 48, 3))).shape
        (2, 2, 3, 64)

    Reference:
        Xiao et al., Early Convolutions Help Transformers See Better, 2021, arXiv 2106.14881; Vasu et al., MobileCLIP,
        2023, arXiv 2311.17049.
    """

    def __init__(self, width, padded=False, **kwargs):
        super().__init__(**kwargs)
        self.padded, policy = padded, self.dtype_policy

        # -- layers --
        self.convolutions = [
            ConvNorm(max(1, width // 4), size, size, activation="gelu", dtype=policy, name=f"convolution_{number}")
            for number, size in enumerate((4, 2))
        ]
        self.projection = convolution(width, 2, 2, policy, "projection")

    def build(self, images_shape) -> None:
        shape = images_shape
        for layer in (*self.convolutions, self.projection):
            layer.build(shape)
            shape = layer.compute_output_shape(shape)

    @staticmethod
    def grid_of(image_size) -> tuple[int, int]:
        """Rows and columns of what comes out."""
        return image_size[0] // STRIDE, image_size[1] // STRIDE

    # -- forward --
    def call(self, images, training=None) -> Tensor:
        x = images
        if self.padded:
            x = ops.pad(x, ((0, 0), (1, 0), (1, 0), (0, 0)))[:, : images.shape[1], : images.shape[2]]
        for layer in self.convolutions:
            x = layer(x, training=training)
        return self.projection(x)


@keras.saving.register_keras_serializable(package="kzoo")
class MBConvStem(Configured, keras.layers.Layer):
    """Two convolutions, stages of MBConv blocks that each halve the map, and a convolution that halves it once more.

    Args:
        width: channels that come out.
        stem_width: channels of the first two convolutions.
        stages: `(channels, blocks)` of each of the two stages.

    Inputs:
        float tensor `(batch, height, width, 3)`.

    Returns:
        float tensor `(batch, height / 16, width / 16, width)`, rounded up.

    Example:
        >>> MBConvStem(width=64, stem_width=8, stages=((8, 1), (16, 2)))(np.zeros((2, 32, 48, 3))).shape
        (2, 2, 3, 64)

    Reference:
        Chen et al., ViTamin, 2024, arXiv 2404.02132; Dai et al., CoAtNet, 2021, arXiv 2106.04803.
    """

    def __init__(self, width, stem_width, stages, **kwargs):
        super().__init__(**kwargs)
        policy = self.dtype_policy
        if len(stages) != 2:
            raise ValueError(f"stages are {stages!r}; give the channels and blocks of two, which leave a map of 1/16.")

        # -- layers --
        self.convolution_1 = convolution(stem_width, 3, 2, policy, "convolution_1")
        self.norm = layer_norm(EPSILON, "norm")
        self.convolution_2 = convolution(stem_width, 3, 1, policy, "convolution_2")
        filters = [stem_width, *(channels for channels, _ in stages)]
        self.stages = [  # whole, as Keras does not see what is put into a list within a list
            [
                MBConv(
                    filters[stage + (number > 0)],
                    filters[stage + 1],
                    strides=1 if number else 2,
                    dtype=policy,
                    name=f"stage_{stage}_{number}",
                )
                for number in range(blocks)
            ]
            for stage, (_, blocks) in enumerate(stages)
        ]
        self.last_norm = layer_norm(EPSILON, "last_norm")
        self.projection = convolution(width, 3, 2, policy, "projection")

    def build(self, images_shape) -> None:
        self.convolution_1.build(images_shape)
        shape = halved(images_shape, self.convolution_1.filters)
        for layer in (self.norm, self.convolution_2):
            layer.build(shape)
        for block in self.blocks:
            block.build(shape)
            shape = block.compute_output_shape(shape)
        for layer in (self.last_norm, self.projection):
            layer.build(shape)

    @property
    def blocks(self) -> list:
        """The blocks of all stages, in their order."""
        return [block for stage in self.stages for block in stage]

    @staticmethod
    def grid_of(image_size) -> tuple[int, int]:
        """Rows and columns of what comes out."""
        return -(-image_size[0] // STRIDE), -(-image_size[1] // STRIDE)

    # -- forward --
    def call(self, images, training=None) -> Tensor:
        x = gelu(self.norm(self.convolution_1(framed(images))))  # (batch, height / 2, width / 2, stem_width)
        x = self.convolution_2(framed(x))
        for block in self.blocks:
            x = block(x)
        return self.projection(framed(self.last_norm(x)))


@keras.saving.register_keras_serializable(package="kzoo")
class MBConv(Configured, keras.layers.Layer):
    """Layer norm, expansion, depthwise convolution, projection, beside a shortcut: MBConv without batch norms.

    Args:
        filters_in, filters_out: channels that enter and leave.
        strides: 1, or 2, which halves the map; the shortcut is then the mean of each window.

    Inputs:
        float tensor `(batch, rows, columns, filters_in)`.

    Returns:
        float tensor `(batch, rows / strides, columns / strides, filters_out)`, rounded up.

    Example:
        >>> MBConv(8, 16, strides=2)(np.zeros((2, 6, 9, 8))).shape
        (2, 3, 5, 16)

    Reference:
        Sandler et al., MobileNetV2, 2018, arXiv 1801.04381; Chen et al., ViTamin, 2024, arXiv 2404.02132.
    """

    def __init__(self, filters_in, filters_out, strides=1, **kwargs):
        super().__init__(**kwargs)
        self.filters, self.strides = filters_out, strides
        policy = self.dtype_policy
        inside = max(8, (4 * filters_out + 4) // 8 * 8)

        # -- layers --
        self.norm = layer_norm(EPSILON, "norm")
        self.expand = dense(inside, (2 / inside) ** 0.5, policy, "expand")
        self.depthwise = DepthwiseConv2D(
            3, strides, data_format=_LAST, depthwise_initializer=HeNormal(True), dtype=policy, name="depthwise"
        )
        self.project = dense(filters_out, (2 / filters_out) ** 0.5, policy, "project")
        self.shortcut = None
        if filters_in != filters_out:
            self.shortcut = dense(filters_out, (2 / filters_out) ** 0.5, policy, "shortcut")

    def build(self, x_shape) -> None:
        batch, rows, columns, _ = x_shape
        for layer in (self.norm, self.expand, self.shortcut):
            if layer is not None:
                layer.build(x_shape)
        inside = (batch, rows, columns, self.expand.units)
        self.depthwise.build(inside)
        self.project.build(inside)

    def compute_output_shape(self, x_shape) -> tuple:
        return halved(x_shape, self.filters) if self.strides == 2 else (*x_shape[:3], self.filters)

    # -- forward --
    def call(self, x) -> Tensor:
        short = mean_of_windows(x) if self.strides == 2 else x
        if self.shortcut is not None:
            short = self.shortcut(short)
        x = gelu(self.expand(self.norm(x)))
        x = gelu(self.depthwise(framed(x)))
        return ops.add(self.project(x), short)


def mean_of_windows(x) -> Tensor:
    """The mean of windows of 3 x 3 with strides 2 on the frame of a map, of those pixels that are not of the frame.

    Args:
        x: float tensor `(batch, rows, columns, channels)`.

    Returns:
        float tensor `(batch, rows / 2, columns / 2, channels)`, rounded up.
    """
    rows, columns = (_to_share(side) for side in x.shape[1:3])
    mean = ops.average_pool(framed(x), 3, strides=2, data_format=_LAST)
    return ops.multiply(mean, ops.cast(rows[:, None, None] * columns[None, :, None], x.dtype))


def _to_share(side):
    """3 over the pixels of each window that are of the map, along one side."""
    starts = np.arange(-1, side - 1, 2)
    return (3.0 / (np.minimum(starts + 3, side) - np.maximum(starts, 0))).astype("float32")
