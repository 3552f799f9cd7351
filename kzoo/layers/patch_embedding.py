"""Pixels to tokens: patches, class token, positions."""

import keras
import numpy as np
from keras import ops

from kzoo.keras_contact import CalledDirectly
from kzoo.layers.configured import Configured
from kzoo.layers.initializers import Normal
from kzoo.layers.linear import multiplied
from kzoo.layers.positions import grid_resampling
from kzoo.layers.sin_cos import sin_cos_positions
from kzoo.types import Tensor


def as_size(image_size) -> tuple:
    """`(height, width)` from a side or a pair, in pixels."""
    return tuple(map(int, (image_size, image_size) if np.ndim(image_size) == 0 else image_size))


def image_grid(image_size, patch_size) -> tuple:
    """Rows and columns of whole patches in an image; pixels beyond the last whole patch are dropped."""
    grid = (image_size[0] // patch_size, image_size[1] // patch_size)
    if 0 in grid:
        raise ValueError(
            f"image_size {image_size} holds no patch of {patch_size} x {patch_size} pixels; "
            "choose a larger image_size or a smaller patch_size."
        )
    return grid


@keras.saving.register_keras_serializable(package="kzoo")
class PatchEmbedding(CalledDirectly, Configured, keras.layers.Layer):
    """Cuts an image into patches, projects each, prepends a class token and adds positions.

    The projection is a matmul over flattened patches: the same numbers as a convolution whose stride is its
    kernel size (the weight has the convolution's shape), and 1.1 to 1.7 times faster to train on two CPU cores
    (`benchmarks/patch_embedding.py`).

    Args:
        image_size: `(height, width)` in pixels.
        patch_size: side of a patch in pixels.
        width: channels per token.
        class_token: prepend a learned token.
        bias: add a bias to the projection.
        positions: `"learned"`, or `"sin_cos"`, those of MAE and MoCo v3, which stay as they are; None adds none.
        position_prefix: the class token has a position, too.
        stem: layer that makes a map of tokens of a picture in place of the projection, such as `MBConvStem`.

    Inputs:
        images: float tensor `(batch, height, width, 3)`, normalised pixels. For images of another size than
            `image_size` the positions are resampled, bicubic with antialiasing.
        patches: float tensor `(batch, rows * columns, width)`, what stands for the projected patches; of the images
            nothing but the size is then read.
        placed: False gives the projected patches, before the class token and the positions.

    Returns:
        float tensor `(batch, [1 +] rows * columns, width)`, patches in row-major order.

    Raises:
        ValueError: unknown positions, an image that holds no patch, sines of a width that is no multiple of 4.

    Example:
        >>> PatchEmbedding(image_size=(32, 48), patch_size=8, width=64)(np.zeros((2, 32, 48, 3))).shape
        (2, 25, 64)

    Reference:
        Dosovitskiy et al., ViT, 2020, arXiv 2010.11929; fixed positions: He et al., MAE, 2021, arXiv 2111.06377.
    """

    def __init__(
        self,
        image_size,
        patch_size,
        width,
        class_token=True,
        bias=False,
        positions="learned",
        position_prefix=True,
        stem=None,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.image_size, self.patch_size, self.width, self.stem = tuple(image_size), patch_size, width, stem
        self.class_token, self.bias, self.positions = class_token, bias, positions
        self.grid = self._grid(self.image_size)
        self.before = int(class_token and position_prefix)  # rows of the table before those of the patches
        self.fixed = sin_cos_positions(self.grid, width, self.before) if positions == "sin_cos" else None

    def build(self, images_shape) -> None:
        self.kernel = self.projection_bias = self.class_embedding = self.position_embedding = None
        if self.stem is not None:
            self.stem.build((None, *self.image_size, 3))
        else:
            self.kernel = self.add_weight(
                name="kernel",
                shape=(self.patch_size, self.patch_size, 3, self.width),
                initializer=Normal(stddev=(3 * self.patch_size**2) ** -0.5),
            )
            if self.bias:
                self.projection_bias = self.add_weight(name="bias", shape=(self.width,), initializer="zeros")
        if self.class_token:
            self.class_embedding = self.add_weight(
                name="class_embedding", shape=(1, self.width), initializer=Normal(stddev=self.width**-0.5)
            )
        if self.positions is not None:
            self.position_embedding = self.add_weight(
                name="position_embedding",
                shape=(self.grid[0] * self.grid[1] + self.before, self.width),
                initializer=Normal(stddev=self.width**-0.5) if self.fixed is None else self._fixed_positions,
                trainable=self.fixed is None,  # a weight, though fixed: checkpoints hold it
            )

    def _fixed_positions(self, shape, dtype=None):
        return ops.convert_to_tensor(self.fixed, dtype)

    def call(self, images, patches=None, placed=True, training=None) -> Tensor:
        grid = self.grid_of(images)
        x = self._projected(images, grid, training) if patches is None else patches
        return self._placed(x, grid) if placed else x

    def grid_of(self, images) -> tuple[int, int]:
        """Rows and columns of the patches of pictures `(batch, height, width, 3)`."""
        return self.grid if None in images.shape[1:3] else self._grid(images.shape[1:3])

    def _grid(self, image_size):
        found = image_grid(image_size, self.patch_size)
        return found if self.stem is None else self.stem.grid_of(image_size)

    def _projected(self, images, grid, training):
        (rows, columns), patch = grid, self.patch_size
        if self.stem is not None:
            size = self.image_size if None in images.shape[1:3] else images.shape[1:3]
            x = self.stem(ops.reshape(images, (-1, *size, 3)), training=training)
            return ops.reshape(x, (-1, rows * columns, self.width))
        x = images[:, : rows * patch, : columns * patch, :]
        x = ops.reshape(x, (-1, rows, patch, columns, patch, 3))
        x = ops.transpose(x, (0, 1, 3, 2, 4, 5))  # (batch, rows, columns, patch, patch, 3)
        x = ops.reshape(x, (-1, rows * columns, patch * patch * 3))
        x = self.project(x)
        if self.projection_bias is not None:
            x = x + self.projection_bias
        return x  # (batch, rows * columns, width)

    def project(self, patches) -> Tensor:
        """The product of flat patches `(..., patch * patch * 3)` and the kernel, before the bias."""
        return multiplied(patches, ops.reshape(self.kernel, (-1, self.width)))

    def _placed(self, x, grid):
        table = None if self.positions is None else self._positions(grid)
        if self.class_embedding is not None:
            # a zero row in front and a table that holds the token: no operation reads the batch size
            x = ops.pad(x, ((0, 0), (1, 0), (0, 0)))
            token = ops.pad(self.class_embedding, ((0, grid[0] * grid[1]), (0, 0)))
            if table is not None and not self.before:
                table = ops.pad(table, ((1, 0), (0, 0)))
            table = token if table is None else table + token
        return x if table is None else x + table

    def _positions(self, grid):
        table = ops.convert_to_tensor(self.position_embedding)
        if tuple(grid) == tuple(self.grid):
            return table
        extra = self.before
        of_rows, of_columns = (ops.cast(each, table.dtype) for each in grid_resampling(self.grid, grid))
        x = ops.reshape(table[extra:], (*self.grid, self.width))
        x = ops.einsum("ar,rcw->acw", of_rows, x)  # (new rows, columns, width)
        x = ops.einsum("bc,acw->abw", of_columns, x)  # (new rows, new columns, width)
        x = ops.reshape(x, (grid[0] * grid[1], self.width))
        return ops.concatenate([table[:extra], x], axis=0) if extra else x
