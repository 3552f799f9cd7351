"""The vision transformer of SigLIP 2 NaFlex and timm's `NaFlexVit`: pictures keep their shape."""

from functools import partial

import keras
import numpy as np
from keras import ops

from kzoo.arguments import one_of
from kzoo.encoders.pixels import check_pixel_values, normalize_pixels
from kzoo.encoders.sequence import SequenceTower, kept
from kzoo.encoders.tower import Input
from kzoo.layers.attention import BIASES
from kzoo.layers.flexible_patches import FILTERS, FlexiblePatchEmbedding
from kzoo.layers.initializers import Normal
from kzoo.layers.numerics import layer_norm
from kzoo.layers.pooling import AttentionPooling, pool_mean
from kzoo.layers.projection import tower_projection
from kzoo.layers.transformer import GATES, transformer_blocks
from kzoo.types import Tensor

POOLS = ("attention", "average", "class_token")


@keras.saving.register_keras_serializable(package="kzoo")
class NaFlexVisionTransformer(SequenceTower):
    """ViT image tower for patches of pictures of any aspect ratio; padding is seen by nothing.

    Args:
        patch_size: side of a patch in pixels.
        max_patches: patches per row of a batch; pictures with fewer are padded.
        table_size: side of the position table, or its rows and columns.
        width: channels of the residual stream.
        depth: number of blocks.
        num_heads: attention heads per block.
        mlp_dim: hidden width of the MLPs; default `4 * width`.
        activation: `"gelu_tanh"`, `"gelu"` or `"quick_gelu"`.
        dropout: rate in the blocks while training.
        epsilon: of the layer norms.
        mean, std: per channel, in units of [0, 1] pixels.
        mask_token: have a learned vector for hidden patches.
        embed_dim, hidden_dim, projection_bias: of the projection of the embedding, as of `VisionTransformer`.
        pool: `"attention"` (MAP head), `"average"` (over the patches) or `"class_token"`.
        norm_tokens: the last norm stands before the pool; False: behind it.
        class_token: prepend a learned token to the patches.
        register_tokens: further learned tokens before the patches, which no pool reads.
        pre_norm: a layer norm between the embedding and the first block; the patches then have no bias.
        resampling, square: of the position table, see `kzoo.layers.FlexiblePatchEmbedding`.
        layer_scale: initial gain of the block branches, or None.
        attention_bias, inner_norm, mlp, mlp_norm: of each block, see `kzoo.layers.TransformerBlock`.
        pool_heads, pool_mlp_dim: of the pool `"attention"`; default those of the blocks.

    Inputs:
        images: uint8 or float tensor `(batch, max_patches, patch_size^2 * 3)`, values in [0, 255], as
            `kzoo.preprocessing.PatchSteps` cuts them.
        image_grid: int tensor `(batch, 2)`, rows and columns of patches of each picture.
        mask, keep, embeddings, prompts, layers, until: see `kzoo.encoders.Tower`; a position is a patch, those of
            padding among them.

    Returns:
        dict: `"embedding"` `(batch, embed_dim)`, not normalised; `"tokens"` `(batch, max_patches, width)`, those of the
        patches, after the last norm where a pool reads it; `"token_mask"` bool `(batch, max_patches)`: tokens of
        padding mean nothing.

    Raises:
        ValueError: patches of another shape, or no grid; `"class_token"` pooling without a class token; a MAP head
            that reads what no norm has seen.

    Example:
        >>> tower = NaFlexVisionTransformer(4, max_patches=12, table_size=4, width=48, depth=2, num_heads=3)
        >>> tower(np.zeros((1, 12, 48), "uint8"), np.array([[2, 5]]))["embedding"].shape
        (1, 48)

    Reference:
        Tschannen et al., SigLIP 2, 2025, arXiv 2502.14786; Dehghani et al., NaViT, 2023, arXiv 2307.06304; register
        tokens: Darcet et al., Vision Transformers Need Registers, 2023, arXiv 2309.16588.
    """

    kind, title = "naflex_vit", "NaFlex vision transformer"
    pads_tokens = True
    after_stack = ("post_norm", "attention_pool", "projection")
    modality = "image"
    arguments = {
        "pool": one_of(*POOLS),
        "resampling": one_of(*FILTERS),
        "attention_bias": one_of(*BIASES),
        "mlp": one_of(*GATES),
    }

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
        embed_dim=None,
        hidden_dim=None,
        projection_bias=False,
        pool="attention",
        norm_tokens=True,
        class_token=False,
        register_tokens=0,
        pre_norm=False,
        resampling="bilinear",
        square=False,
        layer_scale=None,
        attention_bias="all",
        inner_norm=False,
        mlp="plain",
        mlp_norm=False,
        pool_heads=None,
        pool_mlp_dim=None,
        **kwargs,
    ):
        super().__init__(autocast=False, **kwargs)
        if pool == "class_token" and not class_token:
            raise ValueError("pool='class_token' needs class_token=True; choose 'average' or 'attention'.")
        if pool == "attention" and not norm_tokens:
            raise ValueError("pool='attention' reads normed tokens; leave norm_tokens=True, or choose 'average'.")
        self.patch_size, self.max_patches = patch_size, max_patches
        self.width, self.embed_dim, self.token_dim = width, embed_dim or width, width
        self.class_token, self.register_tokens = class_token, register_tokens
        self.pool, self.norm_tokens = pool, norm_tokens
        self._declare_sequence(depth, mask_token)
        self.mean, self.std = tuple(mean), tuple(std)
        mlp_dim = mlp_dim or 4 * width
        policy = self.dtype_policy

        # -- layers --
        self.embedding = FlexiblePatchEmbedding(
            patch_size, table_size, width, not pre_norm, resampling, square, dtype=policy, name="embedding"
        )
        self.pre_norm = layer_norm(epsilon, "pre_norm") if pre_norm else None
        self.blocks = transformer_blocks(
            depth,
            policy,
            width=width,
            num_heads=num_heads,
            mlp_dim=mlp_dim,
            activation=activation,
            layer_scale=layer_scale,
            dropout=dropout,
            epsilon=epsilon,
            attention_bias=attention_bias,
            inner_norm=inner_norm,
            mlp=mlp,
            mlp_norm=mlp_norm,
        )
        self.post_norm = layer_norm(epsilon, "post_norm")
        self.attention_pool = None
        if pool == "attention":
            of_pool = (pool_heads or num_heads, pool_mlp_dim or mlp_dim, activation, epsilon)
            self.attention_pool = AttentionPooling(width, *of_pool, dtype=policy, name="attention_pool")
        self.projection = tower_projection(embed_dim, hidden_dim, width, projection_bias, policy)
        self.build((None, max_patches, 3 * patch_size**2))

    def build(self, images_shape, image_grid_shape=None) -> None:
        self.embedding.build(images_shape)
        self.class_embedding = self.register_embedding = None
        if self.class_token:
            self.class_embedding = self._learned("class_embedding", 1)
        if self.register_tokens:
            self.register_embedding = self._learned("register_embedding", self.register_tokens)
        shape = (None, self._before + self.max_patches, self.width)
        for layer in (self.pre_norm, *self.blocks, self.attention_pool):
            if layer is not None:
                layer.build(shape)
        self.post_norm.build(shape if self.norm_tokens else (None, self.width))
        if self.projection is not None:
            self.projection.build((None, self.width))
        self._build_mask_token()

    def _learned(self, name, count):
        return self.add_weight(name=name, shape=(count, self.width), initializer=Normal(stddev=1e-6))

    @property
    def _before(self):
        """Tokens before the patches."""
        return int(self.class_token) + self.register_tokens

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
        x, seen = self._with_learned(x), self._with_real(real)
        if self.pre_norm is not None:
            x = ops.cast(self.pre_norm(x), x.dtype)
        outputs = self._run(
            x,
            partial(self._finished, real),
            self._before,
            padding_mask=seen,
            prompts=prompts,
            layers=layers,
            until=until,
            training=training,
        )
        return outputs | {"token_mask": real}

    def embed(self, images, image_grid) -> Tensor:
        return self.embedding(normalize_pixels(images, self.mean, self.std), image_grid, placed=False)

    def _with_learned(self, x):
        """The class token and the registers before the patches; no operation reads the batch size."""
        before = [each for each in (self.class_embedding, self.register_embedding) if each is not None]
        if not before:
            return x
        learned = ops.concatenate([ops.cast(ops.convert_to_tensor(each), x.dtype) for each in before], axis=0)
        behind = ops.pad(learned, ((0, x.shape[1]), (0, 0)))
        return ops.pad(x, ((0, 0), (self._before, 0), (0, 0))) + behind

    def _with_real(self, real):
        if not self._before:
            return real
        return ops.cast(ops.pad(ops.cast(real, "int32"), ((0, 0), (self._before, 0)), constant_values=1), "bool")

    def _finished(self, real, x):
        """What leaves a block, `(batch, [before +] patches, width)`, as `(embedding, tokens)`."""
        if self.norm_tokens:
            x = self.post_norm(x)
        tokens = x[:, self._before :]
        if self.pool == "attention":
            embedding = self.attention_pool(tokens, padding_mask=real)
        else:
            embedding = x[:, 0] if self.pool == "class_token" else pool_mean(tokens, real)
        if not self.norm_tokens:
            embedding = self.post_norm(embedding)
        return embedding if self.projection is None else self.projection(embedding), tokens


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
