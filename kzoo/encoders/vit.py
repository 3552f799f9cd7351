"""The vision transformer: raw pixels in, embedding and tokens out."""

import keras
import numpy as np
from keras import ops

from kzoo.layers.configured import Configured
from kzoo.layers.numerics import layer_norm
from kzoo.layers.patch_embedding import PatchEmbedding, as_size
from kzoo.layers.pooling import AttentionPooling
from kzoo.layers.transformer import dense, transformer_blocks

CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)
POOLS = ("class_token", "average", "attention")


@keras.saving.register_keras_serializable(package="kzoo")
class VisionTransformer(Configured, keras.layers.Layer):
    """ViT image tower with the normalisation of raw pixels inside.

    Args:
        image_size: side in pixels, or `(height, width)`.
        patch_size: side of a patch in pixels.
        width: channels of the residual stream.
        depth: number of blocks.
        num_heads: attention heads per block.
        mlp_dim: hidden width of the MLPs; default `4 * width`.
        embed_dim: width of the embedding after a linear projection; None for no projection.
        activation: `"quick_gelu"`, `"gelu"` or `"gelu_tanh"`.
        class_token: prepend a learned token to the patches.
        pool: `"class_token"`, `"average"` (over the patches) or `"attention"` (MAP head).
        pre_norm: a layer norm between the embedding and the first block, as in CLIP.
        patch_bias: bias of the patch projection.
        projection_bias: bias of the last projection.
        layer_scale: initial gain of the block branches, or None.
        dropout: rate in the blocks while training.
        fused: one matmul for query, key and value.
        epsilon: of the layer norms.
        mean, std: per channel, in units of [0, 1] pixels.

    Inputs:
        images: uint8 or float tensor `(batch, height, width, 3)`, values in [0, 255].

    Returns:
        dict: `"embedding"` `(batch, embed_dim)`, not normalised; `"tokens"` `(batch, [1 +] patches, width)`,
        the sequence after the last block, after the last norm too where the attention pool reads it.

    Raises:
        ValueError: unknown pool, `"class_token"` pooling without a class token, images of another shape.

    Example:
        >>> tower = VisionTransformer(image_size=32, patch_size=8, width=64, depth=2, num_heads=4, embed_dim=16)
        >>> tower(np.zeros((2, 32, 32, 3), "uint8"))["embedding"].shape
        (2, 16)

    Reference:
        Dosovitskiy et al., ViT, 2020, arXiv 2010.11929; Radford et al., CLIP, 2021, arXiv 2103.00020.
    """

    kind = "vit"  # its name in preset tables

    def __init__(
        self,
        image_size,
        patch_size,
        width,
        depth,
        num_heads,
        mlp_dim=None,
        embed_dim=None,
        activation="gelu",
        class_token=True,
        pool="class_token",
        pre_norm=True,
        patch_bias=False,
        projection_bias=False,
        layer_scale=None,
        dropout=0.0,
        fused=False,
        epsilon=1e-5,
        mean=CLIP_MEAN,
        std=CLIP_STD,
        **kwargs,
    ):
        # no autocast: pixels are normalised in float32, each sub-layer casts for itself
        super().__init__(autocast=False, **kwargs)
        if pool not in POOLS:
            raise ValueError(f"pool {pool!r} is unknown; choose one of {', '.join(POOLS)}.")
        if pool == "class_token" and not class_token:
            raise ValueError("pool='class_token' needs class_token=True; choose 'average' or 'attention'.")
        self.image_size = as_size(image_size)
        self.width, self.embed_dim = width, embed_dim or width
        self.class_token, self.pool = class_token, pool
        self.mean, self.std = tuple(mean), tuple(std)
        mlp_dim = mlp_dim or 4 * width
        policy = self.dtype_policy

        # -- layers --
        self.embedding = PatchEmbedding(
            self.image_size, patch_size, width, class_token, patch_bias, dtype=policy, name="embedding"
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
            fused=fused,
            epsilon=epsilon,
        )
        self.post_norm = layer_norm(epsilon, "post_norm")
        self.attention_pool = None
        if pool == "attention":
            self.attention_pool = AttentionPooling(
                width, num_heads, mlp_dim, activation, epsilon, dtype=policy, name="attention_pool"
            )
        self.projection = None
        if embed_dim is not None:
            self.projection = dense(embed_dim, width**-0.5, policy, "projection", projection_bias)
        self.build((None, *self.image_size, 3))

    def build(self, images_shape):
        self.embedding.build(images_shape)
        tokens_shape = (None, self.num_tokens, self.width)
        for layer in (self.pre_norm, *self.blocks, self.post_norm, self.attention_pool):
            if layer is not None:
                layer.build(tokens_shape)
        if self.projection is not None:
            self.projection.build((None, self.width))

    @property
    def num_tokens(self):
        """Length of the sequence in the blocks."""
        rows, columns = self.embedding.grid
        return rows * columns + int(self.class_token)

    # -- forward --
    def call(self, images, training=None):
        check_images(images.shape, self.image_size)
        x = self.embedding(self.normalize(images))  # (batch, num_tokens, width)
        if self.pre_norm is not None:
            x = self.pre_norm(x)
        for block in self.blocks:
            x = block(x, training=training)
        if self.pool == "attention":
            x = self.post_norm(x)
        embedding = self.pooled(x)
        if self.projection is not None:
            embedding = self.projection(embedding)
        return {"embedding": embedding, "tokens": x}

    def normalize(self, images):
        """Pixels in [0, 255] to `(pixel / 255 - mean) / std`: one multiply and one add."""
        std = np.array(self.std, "float32")
        scale, shift = 1.0 / (255.0 * std), -np.array(self.mean, "float32") / std
        return ops.add(ops.multiply(ops.cast(images, "float32"), scale), shift)

    def pooled(self, tokens):
        """`(batch, num_tokens, width)` to `(batch, width)`; pools that pick or average apply the last norm after."""
        if self.pool == "class_token":
            return self.post_norm(tokens[:, 0])
        if self.pool == "average":
            return self.post_norm(ops.mean(tokens[:, int(self.class_token) :], axis=1))
        return self.attention_pool(tokens)


def check_images(shape, image_size):
    """Stops with a sentence unless `shape` is `(batch, height, width, 3)` of `image_size`."""
    expected = (*image_size, 3)
    if len(shape) != 4 or any(got not in (None, want) for got, want in zip(shape[1:], expected)):
        height, width = image_size
        raise ValueError(
            f"images have shape {tuple(shape)}, but this model takes (batch, {height}, {width}, 3), channels "
            "last; resize them with model.preprocessor, or open the model with another image_size."
        )
