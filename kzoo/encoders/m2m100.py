"""The encoder of M2M-100 and NLLB as a text tower."""

import math

import keras
import numpy as np
from keras import ops

from kzoo.encoders.pooled_text import PooledText
from kzoo.encoders.token_ids import counted_positions
from kzoo.layers.initializers import Normal
from kzoo.layers.numerics import embed, layer_norm
from kzoo.layers.sin_cos import sequence_positions
from kzoo.layers.transformer import transformer_blocks
from kzoo.types import Tensor


@keras.saving.register_keras_serializable(package="kzoo")
class M2M100Encoder(PooledText):
    """Text tower in the layout of M2M-100's encoder: pre-norm blocks, positions that are computed, padding masked.

    Args:
        vocab_size: rows of the token table.
        context_length: ids per text; shorter inputs are welcome.
        width: channels of the residual stream.
        depth: number of blocks.
        num_heads: attention heads per block.
        mlp_dim: hidden width of the MLPs; default `4 * width`.
        embed_dim: width of the embedding after a projection; None for no projection.
        scale_embedding: multiply rows of the token table by `sqrt(width)`.
        pool: `"first"`, the token of the language in NLLB's texts, or `"mean"` or `"max"` over the real tokens.
        hidden_dim, hidden_activation, projection_bias: of the `Projection`.
        pad_id: id of padding, which the attention does not see; positions of real ids count from `pad_id + 1`.
        activation: of the MLPs.
        dropout: rate on the embeddings and on every branch while training.
        epsilon: of the layer norms.
        mask_token: have a learned vector for hidden ids.

    Inputs:
        token_ids: int tensor `(batch, length)`, `length <= context_length`.
        padding_mask: bool tensor `(batch, length)`, True where an id is real; default where it is not `pad_id`.
        mask, keep, embeddings, prompts, layers, until: see `kzoo.encoders.Tower`; a position is an id. The pool
            `"first"` takes the first one that stays.

    Returns:
        dict: `"embedding"` `(batch, embed_dim)`, not normalised; `"tokens"` `(batch, length, width)`, after the last
        norm; `"token_mask"` bool `(batch, length)`, the padding mask.

    Raises:
        ValueError: unknown pool, fewer than 4 channels, ids of another rank or too long.

    Example:
        >>> tower = M2M100Encoder(vocab_size=512, context_length=16, width=64, depth=2, num_heads=4, embed_dim=24)
        >>> tower(np.array([[256, 7, 2, 1]]))["embedding"].shape
        (1, 24)

    Reference:
        Fan et al., M2M-100, 2020, arXiv 2010.11125; NLLB Team, No Language Left Behind, 2022, arXiv 2207.04672; as a
        tower: Visheratin, NLLB-CLIP, 2023, arXiv 2309.01859.
    """

    kind, title = "m2m100", "M2M-100 encoder"
    after_stack = ("final_norm", "projection")

    def __init__(
        self,
        vocab_size,
        context_length,
        width,
        depth,
        num_heads,
        mlp_dim=None,
        embed_dim=None,
        scale_embedding=True,
        pool="first",
        hidden_dim=None,
        hidden_activation="gelu",
        projection_bias=False,
        pad_id=1,
        activation="relu",
        dropout=0.0,
        epsilon=1e-5,
        mask_token=False,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.vocab_size, self.context_length, self.pad_id = vocab_size, context_length, pad_id
        self.width = self.token_dim = width
        self.scale = math.sqrt(width) if scale_embedding else 1.0
        self._declare_sequence(depth, mask_token)
        positions = sequence_positions(context_length, width, pad_id + 1)  # of real ids, counted
        self.positions = np.pad(positions, ((1, 0), (0, 0)))  # padding has zeros

        # -- layers --
        self.embedding_dropout = None
        if dropout:
            self.embedding_dropout = keras.layers.Dropout(dropout, dtype=self.dtype_policy, name="embedding_dropout")
        self.blocks = transformer_blocks(
            depth,
            self.dtype_policy,
            width=width,
            num_heads=num_heads,
            mlp_dim=mlp_dim or 4 * width,
            activation=activation,
            dropout=dropout,
            epsilon=epsilon,
        )
        self.final_norm = layer_norm(epsilon, "final_norm")
        self._make_head()
        self.build((None, context_length))

    def build(self, token_ids_shape, padding_mask_shape=None) -> None:
        self.token_embedding = self.add_weight(
            name="token_embedding", shape=(self.vocab_size, self.width), initializer=Normal(stddev=0.02)
        )
        for layer in (self.embedding_dropout, *self.blocks, self.final_norm):
            if layer is not None:
                layer.build((*token_ids_shape, self.width))
        self._build_head()

    # -- forward --
    def embed(self, token_ids, padding_mask=None) -> Tensor:
        """Rows of the token table, scaled, `(batch, length, width)`, before positions."""
        return self.scale * embed(self.token_embedding, token_ids)

    def _entered(self, x, token_ids, training):
        counted = counted_positions(token_ids, self.pad_id) - self.pad_id
        x = x + ops.take(ops.cast(self.positions, x.dtype), counted, axis=0)
        return x if self.embedding_dropout is None else self.embedding_dropout(x, training=training)

    def _tokens(self, x):
        return self.final_norm(x)
