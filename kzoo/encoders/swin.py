"""Swin, the image tower of windows that are shifted from block to block."""

import keras
from keras import ops

from kzoo.arguments import COUNT, FLAG, GRID, POSITIVE, one_of, sequence
from kzoo.encoders.pixels import CLIP_MEAN, CLIP_STD
from kzoo.encoders.stages import StagedTower, of_stages
from kzoo.layers.attention import BIASES
from kzoo.layers.configured import Configured
from kzoo.layers.convolution import Conv2D, feature_tokens
from kzoo.layers.initializers import Normal
from kzoo.layers.numerics import layer_norm
from kzoo.layers.patch_embedding import as_size, image_grid
from kzoo.layers.projection import tower_projection
from kzoo.layers.window_attention import STDDEV, PatchMerging, WindowBlock, fitted_window
from kzoo.types import Tensor


@keras.saving.register_keras_serializable(package="kzoo")
class SwinTransformer(StagedTower):
    """Swin image tower with the normalisation of raw pixels inside; the embedding is the mean of the normed last map.

    Args:
        image_size: side in pixels, or `(height, width)`. The windows are those of this size: where one spans a map, it
            is as large as the map.
        depths: number of blocks of each stage, such as `(2, 2, 18, 2)`. Every other block shifts its windows.
        width: channels of the first stage; each stage has twice as many as the one before.
        num_heads: attention heads, of each stage.
        embed_dim: width of the embedding; None for no projection.
        hidden_dim: width between two layers of the projection, with a GELU; None for one layer.
        projection_bias: bias of its last layer.
        patch_size: side of a patch in pixels.
        window_size: side of the windows, in positions of the map, or one for each stage.
        mlp_ratio: hidden width of the MLPs, in units of the channels.
        head_width: channels per head; default those of the stage divided by its heads.
        attention_bias: `"all"`, or `"out"` where query, key and value have none; see `kzoo.layers.Attention`.
        epsilon: of the layer norms.
        mean, std: per channel, in units of [0, 1] pixels.

    Inputs:
        images: uint8 or float tensor `(batch, height, width, 3)`, values in [0, 255].
        any_size: take images of another size than `image_size`; the windows stay as they are.

    Returns:
        dict: `"embedding"` `(batch, embed_dim)`, not normalised; `"tokens"` `(batch, rows * columns, channels)`, the
        last map, normed.

    Raises:
        ValueError: lists of another length than `depths`, heads that do not divide the channels, an image that holds no
            patch, images of another shape.

    Example:
        >>> tower = SwinTransformer(32, depths=(2, 1), width=8, num_heads=(2, 4), patch_size=2, window_size=4)
        >>> tower(np.zeros((2, 32, 32, 3), "uint8"))["embedding"].shape
        (2, 16)

    Reference:
        Liu et al., Swin Transformer, 2021, arXiv 2103.14030.
    """

    kind, title = "swin", "Swin transformer"
    arguments = {
        "depths": sequence(COUNT, "blocks of each stage, at least 1", 1),
        "num_heads": sequence(COUNT, "heads of each stage", 1),
        "window_size": COUNT | sequence(COUNT, "one for each stage", 1),
        "mlp_ratio": POSITIVE,
        "attention_bias": one_of(*BIASES),
    }

    def __init__(
        self,
        image_size,
        depths,
        width,
        num_heads,
        embed_dim=None,
        hidden_dim=None,
        projection_bias=False,
        patch_size=4,
        window_size=7,
        mlp_ratio=4.0,
        head_width=None,
        attention_bias="all",
        epsilon=1e-5,
        mean=CLIP_MEAN,
        std=CLIP_STD,
        **kwargs,
    ):
        # no autocast: pixels are normalised in float32, each sub-layer casts for itself
        super().__init__(autocast=False, **kwargs)
        self.image_size = as_size(image_size)
        num_heads = of_stages("num_heads", num_heads, depths)
        window_size = of_stages("window_size", window_size, depths)
        self.mean, self.std = tuple(mean), tuple(std)
        self.token_dim = width * 2 ** (len(depths) - 1)
        self.embed_dim = embed_dim or self.token_dim
        policy = self.dtype_policy

        # -- layers --
        self.stem = Conv2D(
            width,
            patch_size,
            strides=patch_size,
            data_format="channels_last",
            kernel_initializer=Normal(stddev=STDDEV),
            dtype=policy,
            name="stem",
        )
        self.stem_norm = layer_norm(epsilon, "stem_norm")
        self.stages = []
        grid = image_grid(self.image_size, patch_size)
        for stage, depth in enumerate(depths):
            if stage:
                grid = tuple((side + 1) // 2 for side in grid)
            self.stages.append(
                SwinStage(
                    depth,
                    width * 2**stage,
                    num_heads[stage],
                    grid,
                    window_size[stage],
                    merges=stage > 0,
                    mlp_ratio=mlp_ratio,
                    head_width=head_width,
                    attention_bias=attention_bias,
                    epsilon=epsilon,
                    dtype=policy,
                    name=f"stage_{stage}",
                )
            )
        self.post_norm = layer_norm(epsilon, "post_norm")
        self.projection = tower_projection(embed_dim, hidden_dim, self.token_dim, projection_bias, policy)
        self.build((None, *self.image_size, 3))

    # -- forward --
    def _pooled(self, x):
        tokens = feature_tokens(self.post_norm(x))  # (batch, rows * columns, channels)
        return ops.mean(tokens, axis=1), tokens


@keras.saving.register_keras_serializable(package="kzoo")
class SwinStage(Configured, keras.layers.Layer):
    """Merged patches, where asked for, and blocks of which every other one shifts its windows.

    Args:
        depth: number of blocks.
        width: channels that leave.
        num_heads: of each block.
        grid: rows and columns of the map that the windows are made for.
        window_size: side of the windows; where one spans the map, it is as large as the map.
        merges: whether four patches become one first.
        mlp_ratio, head_width, attention_bias, epsilon: see `SwinTransformer`.

    Inputs:
        float tensor `(batch, rows, columns, channels)`.

    Returns:
        float tensor `(batch, rows, columns, width)`, of half as many rows and columns where it `merges`.
    """

    arguments = {
        "merges": FLAG,
        "grid": GRID,
        "window_size": COUNT,
        "mlp_ratio": POSITIVE,
        "attention_bias": one_of(*BIASES),
    }

    def __init__(
        self,
        depth,
        width,
        num_heads,
        grid,
        window_size,
        merges=True,
        mlp_ratio=4.0,
        head_width=None,
        attention_bias="all",
        epsilon=1e-5,
        **kwargs,
    ):
        super().__init__(**kwargs)
        policy = self.dtype_policy

        # -- layers --
        self.merging = PatchMerging(width, epsilon, dtype=policy, name="merging") if merges else None
        self.blocks = []
        for index in range(depth):
            window, shift = fitted_window(grid, window_size, shifted=index % 2 == 1)
            self.blocks.append(
                WindowBlock(
                    width,
                    num_heads,
                    window,
                    int(mlp_ratio * width),
                    shift,
                    head_width,
                    attention_bias,
                    epsilon=epsilon,
                    dtype=policy,
                    name=f"block_{index}",
                )
            )

    def build(self, x_shape) -> None:
        if self.merging is not None:
            self.merging.build(x_shape)
        for block in self.blocks:
            block.build(self.compute_output_shape(x_shape))

    def compute_output_shape(self, x_shape) -> tuple:
        return x_shape if self.merging is None else self.merging.compute_output_shape(x_shape)

    # -- forward --
    def call(self, x) -> Tensor:
        if self.merging is not None:
            x = self.merging(x)
        for block in self.blocks:
            x = block(x)
        return x
