"""Patches from what is left of a picture (MAE), and the patches that it should find."""

import keras
import numpy as np
from keras import ops

from kzoo.arguments import GRID
from kzoo.layers.configured import Configured
from kzoo.layers.initializers import Normal
from kzoo.layers.linear import dense
from kzoo.layers.numerics import layer_norm
from kzoo.layers.patch_embedding import image_grid
from kzoo.layers.sin_cos import sin_cos_positions
from kzoo.layers.transformer import transformer_blocks
from kzoo.types import Tensor


@keras.saving.register_keras_serializable(package="kzoo")
class PatchDecoder(Configured, keras.layers.Layer):
    """A light transformer that draws all patches from the tokens of a few.

    The tokens that were kept go back to their places, a learned mask token stands where one is missing, fixed positions
    are added, and behind the blocks a linear layer gives the pixels of each patch.

    Args:
        grid: rows and columns of patches of a whole picture.
        patch_size: side of a patch in pixels.
        width, depth, num_heads: of the decoder.
        mlp_dim: hidden width of its blocks; default four times `width`.
        prefix_tokens: tokens in front that stand for no patch, such as a class token.
        epsilon: of the layer norms.

    Inputs:
        tokens: float tensor `(batch, prefix_tokens + kept, any)`, of a tower that was given `keep`.
        kept: int tensor `(batch, kept)`, their places in the grid, row by row; each at most once.

    Returns:
        float32 tensor `(batch, patches, patch_size^2 * 3)`, pixels in the order row, column, channel.

    Raises:
        ValueError: tokens and places that do not go together, a width that is no multiple of 4.

    Example:
        >>> decoder = PatchDecoder((14, 14), 16, width=512, depth=8, num_heads=16, prefix_tokens=1)
        >>> heads = [Head(decoder, reads=("image_tokens", "image_kept"), gives="prediction"),
        ...          Head(Patchify(16), reads="images", gives="target")]

    Reference:
        He et al., Masked Autoencoders Are Scalable Vision Learners (MAE), 2021, arXiv 2111.06377.
    """

    arguments = {"grid": GRID}

    def __init__(
        self,
        grid,
        patch_size,
        width=512,
        depth=8,
        num_heads=16,
        mlp_dim=None,
        prefix_tokens=0,
        epsilon=1e-5,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.grid, self.patch_size, self.width = tuple(grid), patch_size, width
        self.prefix_tokens = prefix_tokens
        self.positions = sin_cos_positions(self.grid, width, prefix_tokens)
        policy = self.dtype_policy

        # -- layers --
        self.blocks = transformer_blocks(
            depth, policy, width=width, num_heads=num_heads, mlp_dim=mlp_dim or 4 * width, epsilon=epsilon
        )
        self.norm = layer_norm(epsilon, "norm")
        self.pixels = dense(3 * patch_size**2, width**-0.5, policy, "pixels")

    @property
    def patches(self) -> int:
        return self.grid[0] * self.grid[1]

    def build(self, tokens_shape, kept_shape) -> None:
        whole = (None, self.prefix_tokens + self.patches, self.width)
        self.embed = dense(self.width, tokens_shape[-1] ** -0.5, self.dtype_policy, "embed")
        self.embed.build(tokens_shape)
        self.mask_token = self.add_weight(name="mask_token", shape=(self.width,), initializer=Normal(stddev=0.02))
        # a weight, though fixed: checkpoints hold it
        self.position_embedding = self.add_weight(
            name="position_embedding",
            shape=whole[1:],
            initializer=lambda shape, dtype=None: ops.convert_to_tensor(self.positions, dtype),
            trainable=False,
        )
        for layer in (*self.blocks, self.norm, self.pixels):
            layer.build(whole)

    def compute_output_shape(self, tokens_shape, kept_shape) -> tuple:
        return (tokens_shape[0], self.patches, self.pixels.units)

    # -- forward --
    def call(self, tokens, kept) -> Tensor:
        if None not in (tokens.shape[1], kept.shape[1]) and tokens.shape[1] != self.prefix_tokens + kept.shape[1]:
            raise ValueError(
                f"there are {tokens.shape[1]} tokens, but {kept.shape[1]} places and {self.prefix_tokens} tokens in "
                "front; give the tokens of a tower that was run with these places as keep."
            )
        tokens = self.embed(tokens)
        # (batch, patches, kept), 1 where a token belongs: a product puts it there on every backend alike
        places = ops.expand_dims(ops.arange(self.patches, dtype="int32"), (0, 2))
        belongs = ops.cast(ops.equal(places, ops.expand_dims(ops.cast(kept, "int32"), 1)), tokens.dtype)
        x = ops.matmul(belongs, tokens[:, self.prefix_tokens :])
        x = x + (1.0 - ops.max(belongs, axis=2, keepdims=True)) * self.mask_token
        x = ops.concatenate([tokens[:, : self.prefix_tokens], x], axis=1) + self.position_embedding
        for block in self.blocks:
            x = block(x)
        return ops.cast(self.pixels(self.norm(x)), "float32")[:, self.prefix_tokens :]


@keras.saving.register_keras_serializable(package="kzoo")
class Patchify(Configured, keras.layers.Layer):
    """The pixels of each patch of a picture: what a decoder should draw.

    Args:
        patch_size: side of a patch in pixels.
        mean, std: per channel, in units of [0, 1] pixels, as in the tower; default none is taken away.

    Inputs:
        uint8 or float tensor `(batch, height, width, 3)`, pixels in [0, 255]; those beyond the last whole patch are
        dropped.

    Returns:
        float32 tensor `(batch, patches, patch_size^2 * 3)`, patches row by row, pixels in the order row, column,
        channel. It is standardised by `MaskedImageModelling`, not here.

    Example:
        >>> Patchify(8)(np.zeros((2, 16, 24, 3), "uint8")).shape
        (2, 6, 192)
    """

    def __init__(self, patch_size, mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0), **kwargs):
        super().__init__(autocast=False, **kwargs)
        self.patch_size = patch_size
        mean, std = np.array(mean, "float32"), np.array(std, "float32")
        self.scale, self.shift = 1.0 / (255.0 * std), -mean / std
        self.built = True

    def compute_output_shape(self, images_shape) -> tuple:
        sides, patches = tuple(images_shape[1:3]), None
        if len(sides) == 2 and None not in sides:
            rows, columns = image_grid(sides, self.patch_size)
            patches = rows * columns
        return (images_shape[0], patches, 3 * self.patch_size**2)

    # -- forward --
    def call(self, images) -> Tensor:
        patch = self.patch_size
        rows, columns = image_grid(images.shape[1:3], patch)
        x = ops.cast(images[:, : rows * patch, : columns * patch], "float32")
        x = ops.add(ops.multiply(x, self.scale), self.shift)
        x = ops.reshape(x, (-1, rows, patch, columns, patch, 3))
        x = ops.transpose(x, (0, 1, 3, 2, 4, 5))  # (batch, rows, columns, patch, patch, 3)
        return ops.reshape(x, (-1, rows * columns, 3 * patch**2))
