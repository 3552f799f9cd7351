"""The encoder of T5 and mT5 as a text tower."""

import keras
import numpy as np
from keras import ops

from kzoo.arguments import COUNT, FLAG, whole
from kzoo.encoders.pooled_text import PooledText
from kzoo.layers.initializers import Normal
from kzoo.layers.numerics import embed, rms_norm
from kzoo.layers.t5_block import T5Block
from kzoo.types import Array, Tensor


@keras.saving.register_keras_serializable(package="kzoo")
class T5Encoder(PooledText):
    """Text tower in the layout of T5's encoder: relative positions, RMS norms before each branch, no biases.

    Args:
        vocab_size: rows of the token table.
        context_length: ids per text; shorter inputs are welcome.
        width: channels of the residual stream.
        depth: number of blocks.
        num_heads: attention heads per block.
        head_width: channels of a head; all heads together need not be `width`.
        mlp_dim: hidden width of the MLPs; default `4 * width`.
        embed_dim: width of the embedding after a projection; None for no projection.
        num_buckets: rows of the table of distances, which all blocks share: half for each direction.
        max_distance: from which on all distances are one.
        pool: `"first"`, or `"mean"` or `"max"` over the real tokens.
        hidden_dim, hidden_activation, projection_bias: of the `Projection`.
        pad_id: id of padding, which the attention does not see.
        activation: of the MLPs.
        gated: multiply by a linear layer in the MLPs (T5 1.1, mT5).
        dropout: rate on the embeddings and on every branch while training.
        epsilon: of the norms.
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
        ValueError: unknown pool, a `max_distance` that has a row of its own, ids of another rank or too long.

    Example:
        >>> tower = T5Encoder(vocab_size=512, context_length=16, width=48, depth=2, num_heads=4, head_width=16)
        >>> tower(np.array([[259, 7, 1, 0]]))["embedding"].shape
        (1, 48)

    Reference:
        Raffel et al., T5, 2019, arXiv 1910.10683; Xue et al., mT5, 2020, arXiv 2010.11934; the gate: Shazeer, GLU
        Variants Improve Transformer, 2020, arXiv 2002.05202.
    """

    kind, title = "t5", "T5 encoder"
    after_stack = ("final_norm", "projection")
    arguments = PooledText.arguments | {"num_buckets": whole(4, 2**16), "max_distance": COUNT, "gated": FLAG}

    def __init__(
        self,
        vocab_size,
        context_length,
        width,
        depth,
        num_heads,
        head_width=64,
        mlp_dim=None,
        embed_dim=None,
        num_buckets=32,
        max_distance=128,
        pool="mean",
        hidden_dim=None,
        hidden_activation="gelu",
        projection_bias=False,
        pad_id=0,
        activation="gelu_tanh",
        gated=True,
        dropout=0.0,
        epsilon=1e-6,
        mask_token=False,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.vocab_size, self.context_length, self.pad_id = vocab_size, context_length, pad_id
        self.width = self.token_dim = width
        self.num_heads, self.num_buckets = num_heads, num_buckets
        self._declare_sequence(depth, mask_token)
        distances = np.arange(1 - context_length, context_length)
        self.buckets = buckets_of(distances, num_buckets, max_distance)  # distance 0 stands in the middle

        # -- layers --
        self.embedding_dropout = None
        if dropout:
            self.embedding_dropout = keras.layers.Dropout(dropout, dtype=self.dtype_policy, name="embedding_dropout")
        options = {"activation": activation, "gated": gated, "dropout": dropout, "epsilon": epsilon}
        options |= {"dtype": self.dtype_policy}
        self.blocks = [
            T5Block(width, num_heads, head_width, mlp_dim or 4 * width, **options, name=f"block_{number}")
            for number in range(depth)
        ]
        self.final_norm = rms_norm(epsilon, "final_norm")
        self._make_head()
        self.build((None, context_length))

    def build(self, token_ids_shape, padding_mask_shape=None) -> None:
        def table(name, rows, channels, stddev):
            return self.add_weight(name=name, shape=(rows, channels), initializer=Normal(stddev=stddev))

        self.token_embedding = table("token_embedding", self.vocab_size, self.width, 1.0)
        self.distance_embedding = table("distance_embedding", self.num_buckets, self.num_heads, self.width**-0.5)
        for layer in (self.embedding_dropout, *self.blocks, self.final_norm):
            if layer is not None:
                layer.build((*token_ids_shape, self.width))
        self._build_head()

    # -- forward --
    def embed(self, token_ids, padding_mask=None) -> Tensor:
        """Rows of the token table, `(batch, length, width)`; positions are in the attention."""
        return embed(self.token_embedding, token_ids)

    def _entered(self, x, token_ids, training):
        return x if self.embedding_dropout is None else self.embedding_dropout(x, training=training)

    def _between(self, length, keep):
        """What pairs of positions add to the scores of every block, `(1 or batch, heads, length, length)`."""
        places = np.arange(length)[None] if keep is None else ops.cast(keep, "int32")
        distances = places[:, None, :] - places[:, :, None] + (self.context_length - 1)  # of the key from the query
        rows = self.buckets[distances] if keep is None else ops.take(self.buckets, distances, axis=0)
        bias = embed(self.distance_embedding, rows)  # (1 or batch, length, length, heads)
        return {"position_biases": [ops.transpose(bias, (0, 3, 1, 2))] * self.num_blocks}

    def _tokens(self, x):
        return self.final_norm(x)


def buckets_of(distances, num_buckets=32, max_distance=128) -> Array:
    """The rows of T5's table for distances of a key from its query, in a tower that looks both ways.

    Half of the rows are for keys behind the query. Of each half, the first half has a row for each distance, the other
    rows grow with the logarithm of it.

    Args:
        distances: int array.
        num_buckets: rows of the table.
        max_distance: from which on all distances are one.

    Returns:
        int32 array of the same shape.

    Raises:
        ValueError: a `max_distance` that has a row of its own.

    Example:
        >>> buckets_of(np.array([-200, -1, 0, 1, 9, 200]))
        [15, 1, 0, 17, 24, 31]
    """
    half, far = num_buckets // 2, np.abs(distances)
    exact = half // 2
    if max_distance <= exact:
        raise ValueError(
            f"max_distance is {max_distance}, but the first {exact} distances of num_buckets={num_buckets} have a row "
            "each; take a larger one."
        )
    # in float32, as T5 has it: at a border the last digit decides
    grown = np.log(np.maximum(far, 1).astype("float32") / np.float32(exact))
    grown = grown / np.float32(np.log(max_distance / exact)) * np.float32(half - exact)
    row = np.where(far < exact, far, np.minimum(exact + grown.astype("int32"), half - 1))
    return (row + half * (distances > 0)).astype("int32")
