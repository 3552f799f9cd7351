"""The text transformer of CLIP: token ids in, embedding and tokens out."""

import keras

from kzoo.layers.configured import Configured
from kzoo.layers.numerics import embed, layer_norm
from kzoo.layers.pooling import pool_end_of_text
from kzoo.layers.transformer import dense, transformer_blocks

POOLS = ("end_of_text", "last")


@keras.saving.register_keras_serializable(package="kzoo")
class TextTransformer(Configured, keras.layers.Layer):
    """Text tower: token and position embeddings, pre-norm blocks, final norm, pooling, projection.

    Args:
        vocab_size: rows of the token table.
        context_length: rows of the position table; shorter inputs are welcome.
        width: channels of the residual stream.
        depth: number of blocks.
        num_heads: attention heads per block.
        mlp_dim: hidden width of the MLPs; default `4 * width`.
        embed_dim: width of the embedding after a linear projection; None for no projection.
        activation: `"quick_gelu"`, `"gelu"` or `"gelu_tanh"`.
        causal: position t sees positions 0..t only.
        pool: `"end_of_text"` (the first position whose id is `eot_id`) or `"last"`.
        eot_id: id of the end-of-text token.
        mask_padding: hide padding from the attention where `padding_mask` is given.
        projection_bias: bias of the last projection.
        layer_scale: initial gain of the block branches, or None.
        dropout: rate in the blocks while training.
        fused: one matmul for query, key and value.
        epsilon: of the layer norms.

    Inputs:
        token_ids: int tensor `(batch, length)`, `length <= context_length`.
        padding_mask: bool tensor `(batch, length)`, True where an id is real, or None.

    Returns:
        dict: `"embedding"` `(batch, embed_dim)`, not normalised; `"tokens"` `(batch, length, width)`, after
        the final norm.

    Raises:
        ValueError: unknown pool, ids of another rank or longer than the context.

    Example:
        >>> tower = TextTransformer(vocab_size=512, context_length=16, width=64, depth=2, num_heads=4, eot_id=2)
        >>> tower(np.array([[1, 7, 2, 0]]))["embedding"].shape
        (1, 64)

    Reference:
        Radford et al., CLIP, 2021, arXiv 2103.00020.
    """

    kind = "text_transformer"  # its name in preset tables

    def __init__(
        self,
        vocab_size,
        context_length,
        width,
        depth,
        num_heads,
        mlp_dim=None,
        embed_dim=None,
        activation="gelu",
        causal=True,
        pool="end_of_text",
        eot_id=49407,
        mask_padding=False,
        projection_bias=False,
        layer_scale=None,
        dropout=0.0,
        fused=False,
        epsilon=1e-5,
        **kwargs,
    ):
        super().__init__(**kwargs)
        if pool not in POOLS:
            raise ValueError(f"pool {pool!r} is unknown; choose one of {', '.join(POOLS)}.")
        self.vocab_size, self.context_length = vocab_size, context_length
        self.width, self.embed_dim = width, embed_dim or width
        self.pool, self.eot_id, self.mask_padding = pool, eot_id, mask_padding

        # -- layers --
        self.blocks = transformer_blocks(
            depth,
            self.dtype_policy,
            width=width,
            num_heads=num_heads,
            mlp_dim=mlp_dim or 4 * width,
            activation=activation,
            causal=causal,
            layer_scale=layer_scale,
            dropout=dropout,
            fused=fused,
            epsilon=epsilon,
        )
        self.final_norm = layer_norm(epsilon, "final_norm")
        self.projection = None
        if embed_dim is not None:
            self.projection = dense(embed_dim, width**-0.5, self.dtype_policy, "projection", projection_bias)
        self.build((None, context_length))

    def build(self, token_ids_shape, padding_mask_shape=None):
        random = keras.initializers.RandomNormal
        self.token_embedding = self.add_weight(
            name="token_embedding", shape=(self.vocab_size, self.width), initializer=random(stddev=0.02)
        )
        self.position_embedding = self.add_weight(
            name="position_embedding", shape=(self.context_length, self.width), initializer=random(stddev=0.01)
        )
        for layer in (*self.blocks, self.final_norm):
            layer.build((*token_ids_shape, self.width))
        if self.projection is not None:
            self.projection.build((None, self.width))

    # -- forward --
    def call(self, token_ids, padding_mask=None, training=None):
        length = check_token_ids(token_ids.shape, self.context_length)
        x = embed(self.token_embedding, token_ids)  # (batch, length, width)
        x = x + self.position_embedding[:length]
        for block in self.blocks:
            x = block(x, padding_mask=padding_mask if self.mask_padding else None, training=training)
        tokens = self.final_norm(x)
        if self.pool == "end_of_text":
            embedding = pool_end_of_text(tokens, token_ids, self.eot_id)  # (batch, width)
        else:
            embedding = tokens[:, -1]
        if self.projection is not None:
            embedding = self.projection(embedding)
        return {"embedding": embedding, "tokens": tokens}


def check_token_ids(shape, context_length):
    """The length of `(batch, length)` ids; stops with a sentence when they do not fit the tower."""
    if len(shape) != 2 or shape[1] is None or shape[1] > context_length:
        raise ValueError(
            f"token_ids have shape {tuple(shape)}, but this model takes (batch, length) with at most "
            f"{context_length} ids a row; tokenise with model.preprocessor, which keeps the end of text."
        )
    return shape[1]
