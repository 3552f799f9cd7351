"""The vision transformer of SigLIP 2 NaFlex: pictures keep their shape."""

from functools import partial

import keras
import numpy as np

from kzoo.encoders.pixels import check_pixel_values, normalize_pixels
from kzoo.encoders.sequence import SequenceTower, kept
from kzoo.encoders.tower import Input
from kzoo.layers.flexible_patches import FlexiblePatchEmbedding
from kzoo.layers.numerics import layer_norm
from kzoo.layers.pooling import AttentionPooling
from kzoo.layers.transformer import transformer_blocks
from kzoo.types import Tensor


@keras.saving.register_keras_serializable(package="kzoo")
class NaFlexVisionTransformer(SequenceTower):
    """ViT image tower for patches of pictures of any aspect ratio, with a masked MAP head.

    Args:
        patch_size: side of a patch in pixels.
        max_patches: patches per row of a batch; pictures with fewer are padded.
        table_size: side of the square position table.
        width: channels of the residual stream and of the embedding.
        depth: number of blocks.
        num_heads: attention heads per block.
        mlp_dim: hidden width of the MLPs; default `4 * width`.
        activation: `"gelu_tanh"`, `"gelu"` or `"quick_gelu"`.
        dropout: rate in the blocks while training.
        epsilon: of the layer norms.
        mean, std: per channel, in units of [0, 1] pixels.
        mask_token: have a learned vector for hidden patches.

    Inputs:
        images: uint8 or float tensor `(batch, max_patches, patch_size^2 * 3)`, values in [0, 255], as
            `kzoo.preprocessing.PatchSteps` cuts them.
        image_grid: int tensor `(batch, 2)`, rows and columns of patches of each picture.
        mask, keep, embeddings, prompts, layers, until: see `kzoo.encoders.Tower`; a position is a patch, those of
            padding among them.

    Returns:
        dict: `"embedding"` `(batch, width)`, not normalised; `"tokens"` `(batch, max_patches, width)` after the last
        norm; `"token_mask"` bool `(batch, max_patches)`: tokens of padding mean nothing.

    Raises:
        ValueError: patches of another shape, or no grid.

    Example:
        >>> tower = NaFlexVisionTransformer(4, max_patches=12, table_size=4, width=48, depth=2, num_heads=3)
        >>> tower(np.zeros((1, 12, 48), "uint8"), np.array([[2, 5]]))["embedding"].shape
        (1, 48)

    Reference:
        Tschannen et al., SigLIP 2, 2025, arXiv 2502.14786.
    """

    kind, title = "naflex_vit", "NaFlex vision transformer"
    pads_tokens = True
    modality = "image"

    def __init__(
        self,
        patch_size,
        max_patches,
        table_size,
        width,
        depth,
        num_heads,
        mlp_dim=None,
        activation="gelu_tanh",
        dropout=0.0,
        epsilon=1e-6,
        mean=(0.5, 0.5, 0.5),
        std=(0.5, 0.5, 0.5),
        mask_token=False,
        **kwargs,
    ):
        super().__init__(autocast=False, **kwargs)
        self.patch_size, self.max_patches = patch_size, max_patches
        self.width = self.embed_dim = self.token_dim = width
        self._declare_sequence(depth, mask_token)
        self.mean, self.std = tuple(mean), tuple(std)
        mlp_dim = mlp_dim or 4 * width
        policy = self.dtype_policy

        # -- layers --
        self.embedding = FlexiblePatchEmbedding(patch_size, table_size, width, dtype=policy, name="embedding")
        self.blocks = transformer_blocks(
            depth,
            policy,
            width=width,
            num_heads=num_heads,
            mlp_dim=mlp_dim,
            activation=activation,
            dropout=dropout,
            epsilon=epsilon,
        )
        self.post_norm = layer_norm(epsilon, "post_norm")
        self.attention_pool = AttentionPooling(
            width, num_heads, mlp_dim, activation, epsilon, dtype=policy, name="attention_pool"
        )
        self.build((None, max_patches, 3 * patch_size**2))

    def build(self, images_shape, image_grid_shape=None) -> None:
        self.embedding.build(images_shape)
        for layer in (*self.blocks, self.post_norm, self.attention_pool):
            layer.build((None, self.max_patches, self.width))
        self._build_mask_token()

    # -- inputs --
    @property
    def inputs(self) -> tuple:
        patches = Input("images", (self.max_patches, 3 * self.patch_size**2), "uint8")
        return patches, Input("image_grid", (2,), "int32")

    def wants(self, given) -> str:
        return wanted_patches(self)

    def check_values(self, arrays, called) -> None:
        check_pixel_values(arrays["images"], called.get("images", "images"))
        name, grid = called.get("image_grid", "image_grid"), arrays["image_grid"]
        if isinstance(grid, np.ndarray):
            wrong = np.argwhere((grid.min(axis=-1) < 1) | (grid.prod(axis=-1) > self.max_patches))
            if wrong.size:
                row = wrong[0][0]
                raise ValueError(f"row {row} of {name} is {grid[row].tolist()}, but {wanted_patches(self)}.")

    def samples(self, rows, seed=0) -> dict:
        random = np.random.default_rng(seed)
        height = random.integers(1, self.max_patches + 1, rows)
        grid = np.stack([height, random.integers(1, self.max_patches // height + 1)], axis=1).astype("int32")
        images = random.integers(0, 256, (rows, *self.inputs[0].shape), "uint8")
        images[np.arange(self.max_patches) >= grid.prod(axis=1, keepdims=True)] = 0
        return {"images": images, "image_grid": grid}

    # -- forward --
    def call(
        self,
        images,
        image_grid,
        training=None,
        mask=None,
        keep=None,
        embeddings=None,
        prompts=None,
        layers=(),
        until=None,
    ) -> dict:
        check_patches(images.shape, image_grid, self)
        if mask is None and embeddings is None:
            x, real = self.embedding(normalize_pixels(images, self.mean, self.std), image_grid)
        else:
            x = (
                self.embed(images, image_grid)
                if embeddings is None
                else self._standing_in(embeddings, self.max_patches)
            )
            x, real = self.embedding(images, image_grid, embeddings=self._hidden(x, mask))
        if keep is not None:
            x, real = kept(x, keep), kept(real, keep)
        outputs = self._run(
            x,
            partial(self._finished, real),
            0,
            padding_mask=real,
            prompts=prompts,
            layers=layers,
            until=until,
            training=training,
        )
        return outputs | {"token_mask": real}

    def embed(self, images, image_grid) -> Tensor:
        return self.embedding(normalize_pixels(images, self.mean, self.std), image_grid, placed=False)

    def _finished(self, real, x):
        """What leaves a block, `(batch, max_patches, width)`, as `(embedding, tokens)`."""
        tokens = self.post_norm(x)
        return self.attention_pool(tokens, padding_mask=real), tokens


def check_patches(shape, image_grid, tower) -> None:
    """Stops with a sentence unless there is a grid and `shape` is that of patches of the tower."""
    wanted = (tower.max_patches, 3 * tower.patch_size**2)
    if image_grid is None or len(shape) != 3 or tuple(shape[1:]) != wanted:
        raise ValueError(
            f"images have shape {tuple(shape)}{' and no image_grid' if image_grid is None else ''}, but "
            f"{wanted_patches(tower)}."
        )


def wanted_patches(tower) -> str:
    """What patches should be, as the end of a sentence."""
    return (
        f"this model takes patches (batch, {tower.max_patches}, {3 * tower.patch_size**2}) with image_grid (batch, 2), "
        "rows and columns of patches; cut pictures with model.preprocessor"
    )
