"""BERT and its kin (RoBERTa, XLM-R) as a text tower."""

import keras
from keras import ops

from kzoo.arguments import one_of
from kzoo.encoders.bert_body import BertBody
from kzoo.encoders.pooled_text import POOLS, PooledText
from kzoo.layers.linear import dense
from kzoo.layers.numerics import layer_norm


@keras.saving.register_keras_serializable(package="kzoo")
class BertEncoder(BertBody, PooledText):
    """Text tower in BERT's layout: post-norm blocks, padding masked, pooling, projection.

    Args:
        vocab_size: rows of the token table.
        context_length: ids per text; shorter inputs are welcome.
        width: channels of the residual stream.
        depth: number of blocks.
        num_heads: attention heads per block.
        mlp_dim: hidden width of the MLPs; default `4 * width`.
        embed_dim: width of the embedding after a projection; None for no projection.
        num_positions: rows of the position table; default what the context needs.
        positions_from_padding: RoBERTa's positions, which count real ids from `pad_id + 1`.
        token_types: rows of the table of token types, of which the first is added; 0 for no table.
        pool: `"first"`, or `"mean"` or `"max"` over the real tokens; `"pooler"`: BERT's own, `tanh` of a linear layer
            of the first.
        hidden_dim, hidden_activation, projection_bias: of the `Projection`.
        token_dim: width of a norm and a linear layer that all tokens pass before the pooling (AltCLIP), or None.
        cross_width: width of the image tokens that the blocks can attend to (BLIP), or None.
        pad_id: id of padding, which the attention does not see.
        activation: of the MLPs.
        dropout: rate on every branch while training.
        epsilon: of the layer norms.
        mask_token: have a learned vector for hidden ids.

    Inputs:
        token_ids: int tensor `(batch, length)`, `length <= context_length`.
        padding_mask: bool tensor `(batch, length)`, True where an id is real; default where it is not `pad_id`.
        context: float tensor `(batch, S, cross_width)`, image tokens to read the text with, or None.
        mask, keep, embeddings, prompts, layers, until: see `kzoo.encoders.Tower`; a position is an id. The pool
            `"first"` takes the first one that stays.

    Returns:
        dict: `"embedding"` `(batch, embed_dim)`, not normalised; `"tokens"` `(batch, length, token_dim or width)`;
        `"token_mask"` bool `(batch, length)`, the padding mask.

    Raises:
        ValueError: unknown pool, a context longer than the position table, ids of another rank or too long.

    Example:
        >>> tower = BertEncoder(vocab_size=512, context_length=16, width=64, depth=2, num_heads=4, embed_dim=24)
        >>> tower(np.array([[101, 7, 102, 0]]))["embedding"].shape
        (1, 24)

    Reference:
        Devlin et al., BERT, 2018, arXiv 1810.04805; Liu et al., RoBERTa, 2019, arXiv 1907.11692; Conneau et al.,
        XLM-R, 2019, arXiv 1911.02116.
    """

    kind, title = "bert", "BERT encoder"
    after_stack = ("token_norm", "token_projection", "pooler", "projection")
    arguments = {"pool": one_of(*POOLS, "pooler")}

    def __init__(
        self,
        vocab_size,
        context_length,
        width,
        depth,
        num_heads,
        mlp_dim=None,
        embed_dim=None,
        num_positions=None,
        positions_from_padding=False,
        token_types=2,
        pool="first",
        hidden_dim=None,
        hidden_activation="gelu",
        projection_bias=False,
        token_dim=None,
        cross_width=None,
        pad_id=0,
        activation="gelu",
        dropout=0.0,
        epsilon=1e-12,
        mask_token=False,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self._make_body()
        self._declare_sequence(depth, mask_token)
        if cross_width is not None:
            self.options = self.options | {"context"}
        self.token_norm = self.token_projection = self.pooler = None
        if token_dim is not None:
            self.token_norm = layer_norm(epsilon, "token_norm")
            self.token_projection = dense(token_dim, width**-0.5, self.dtype_policy, "token_projection")
        self.token_dim = token_dim or width
        if pool == "pooler":
            self.pooler = dense(self.token_dim, self.token_dim**-0.5, self.dtype_policy, "pooler")
        self._make_head()
        self.build((None, context_length))

    def build(self, token_ids_shape, padding_mask_shape=None, context_shape=None) -> None:
        super().build(token_ids_shape)
        if self.token_norm is not None:
            self.token_norm.build((None, None, self.width))
            self.token_projection.build((None, None, self.width))
        if self.pooler is not None:
            self.pooler.build((None, self.token_dim))
        self._build_head()

    # -- forward --
    def call(
        self,
        token_ids,
        padding_mask=None,
        context=None,
        training=None,
        mask=None,
        keep=None,
        embeddings=None,
        prompts=None,
        layers=(),
        until=None,
    ) -> dict:
        options = {"prompts": prompts, "layers": layers, "until": until, "context": context}
        return self._read(token_ids, padding_mask, training, mask, keep, embeddings, **options)

    def _tokens(self, x):
        return x if self.token_norm is None else self.token_projection(self.token_norm(x))

    def _pooled(self, tokens, token_ids, padding_mask):
        if self.pooler is not None:
            return ops.tanh(self.pooler(tokens[:, 0]))
        return super()._pooled(tokens, token_ids, padding_mask)
