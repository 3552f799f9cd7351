"""The text transformer of open_clip 4: rotary positions, gates, norms by the root mean square, masked pooling."""

import keras
import numpy as np
from keras import ops

from kzoo.arguments import one_of
from kzoo.encoders.pooled_text import PooledText
from kzoo.layers.initializers import Normal
from kzoo.layers.numerics import NORMS, embed
from kzoo.layers.pooling import ProbePooling, pool_end_of_text
from kzoo.layers.rotary import sequence_angles
from kzoo.layers.transformer import TransformerBlock, transformer_blocks
from kzoo.types import Tensor

POOLS = ("end_of_text", "mean", "attention")


@keras.saving.register_keras_serializable(package="kzoo")
class ModernTextTransformer(PooledText):
    """Text tower without a position table: the places of tokens turn queries and keys, and padding is seen by nothing.

    Args:
        vocab_size: rows of the token table.
        context_length: ids per text; shorter inputs are welcome.
        width: channels of the residual stream.
        depth: number of blocks.
        num_heads: attention heads per block.
        mlp_dim: hidden width of the MLPs; default `4 * width`.
        embed_dim: width of the embedding after a projection; None for no projection.
        causal: position t sees positions 0..t only.
        pool: `"end_of_text"` (the first position whose id is `eot_id`), `"mean"` over the real tokens, or
            `"attention"`: a learned query that reads them.
        eot_id: id of the end-of-text token.
        pad_id: id of padding, which the attention does not see.
        rotary_base: of the frequencies of the rotary positions; None for no positions.
        pre_norm: a norm between the embedding and the first block.
        norm: `"rms"` or `"layer"`: all norms.
        mlp, activation, mlp_bias, attention_bias, head_norm, gate, sandwich: of each block, see
            `kzoo.layers.TransformerBlock`; `attention_bias` and `head_norm` are those of the pool `"attention"`, too.
        hidden_dim, hidden_activation, projection_bias: of the `Projection`.
        layer_scale: initial gain of the block branches, or None.
        dropout: rate in the blocks while training.
        epsilon: of the norms.
        mask_token: have a learned vector for hidden ids.

    Inputs:
        token_ids: int tensor `(batch, length)`, `length <= context_length`.
        padding_mask: bool tensor `(batch, length)`, True where an id is real; default where it is not `pad_id`.
        mask, keep, embeddings, prompts, layers, until: see `kzoo.encoders.Tower`; a position is an id. Of texts whose
            end is pooled, `keep` must keep it.

    Returns:
        dict: `"embedding"` `(batch, embed_dim)`, not normalised; `"tokens"` `(batch, length, width)`, after the last
        norm; `"token_mask"` bool `(batch, length)`, the padding mask.

    Raises:
        ValueError: unknown pool, heads of an odd width, ids of another rank or too long.

    Example:
        >>> tower = ModernTextTransformer(512, context_length=16, width=64, depth=2, num_heads=4, pool="mean")
        >>> tower(np.array([[259, 7, 2, 0]]))["embedding"].shape
        (1, 64)

    Reference:
        Rotary positions: Su et al., RoFormer, 2021, arXiv 2104.09864; the tower is open_clip's, of the kind of Warner
        et al., ModernBERT, 2024, arXiv 2412.13663.
    """

    kind, title = "modern_text", "modern text transformer"
    after_stack = ("final_norm", "attention_pool", "projection")
    arguments = {
        "pool": one_of(*POOLS),
        **{name: TransformerBlock.arguments[name] for name in ("attention_bias", "mlp", "norm", "head_norm", "gate")},
    }

    def __init__(
        self,
        vocab_size,
        context_length,
        width,
        depth,
        num_heads,
        mlp_dim=None,
        embed_dim=None,
        causal=False,
        pool="end_of_text",
        eot_id=2,
        pad_id=0,
        rotary_base=10000.0,
        pre_norm=False,
        norm="rms",
        mlp="swiglu",
        activation="gelu",
        mlp_bias=False,
        attention_bias="none",
        head_norm=None,
        gate=None,
        sandwich=False,
        hidden_dim=None,
        hidden_activation="gelu",
        projection_bias=False,
        layer_scale=None,
        dropout=0.0,
        epsilon=1e-6,
        mask_token=False,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.vocab_size, self.context_length, self.pad_id = vocab_size, context_length, pad_id
        self.width, self.token_dim, self.causal = width, width, causal
        self.eot_id = eot_id if pool == "end_of_text" else None
        self.waves = None
        if rotary_base is not None:
            angles = sequence_angles(context_length, width // num_heads, rotary_base)
            self.waves = [wave(angles).astype("float32") for wave in (np.sin, np.cos)]
        self._declare_sequence(depth, mask_token)

        # -- layers --
        self.pre_norm = NORMS[norm](epsilon, "pre_norm") if pre_norm else None
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
            epsilon=epsilon,
            attention_bias=attention_bias,
            mlp=mlp,
            norm=norm,
            sandwich=sandwich,
            mlp_bias=mlp_bias,
            head_norm=head_norm,
            gate=gate,
        )
        self.final_norm = NORMS[norm](epsilon, "final_norm")
        self.attention_pool = None
        if pool == "attention":
            of_pool = {"bias": attention_bias, "head_norm": head_norm, "epsilon": epsilon}
            self.attention_pool = ProbePooling(
                width, num_heads, **of_pool, dtype=self.dtype_policy, name="attention_pool"
            )
        self._make_head()
        self.build((None, context_length))

    def build(self, token_ids_shape, padding_mask_shape=None) -> None:
        self.token_embedding = self.add_weight(
            name="token_embedding", shape=(self.vocab_size, self.width), initializer=Normal(stddev=0.02)
        )
        for layer in (self.pre_norm, *self.blocks, self.final_norm, self.attention_pool):
            if layer is not None:
                layer.build((*token_ids_shape, self.width))
        self._build_head()

    # -- forward --
    def embed(self, token_ids, padding_mask=None) -> Tensor:
        """Rows of the token table, `(batch, length, width)`; positions are in the attention."""
        return embed(self.token_embedding, token_ids)

    def _entered(self, x, token_ids, training):
        return x if self.pre_norm is None else ops.cast(self.pre_norm(x), x.dtype)

    def _between(self, length, keep):
        """Sines and cosines of the places, and the places themselves where a causal mask goes by them."""
        between = {} if keep is None or not self.causal else {"order": keep}
        if self.waves is None:
            return between
        waves = [ops.convert_to_tensor(wave[:length]) for wave in self.waves]
        if keep is not None:
            waves = [ops.take(wave, keep, axis=0) for wave in waves]  # (batch, kept, head_width / 2)
        return between | {"rotary": tuple(waves)}

    def _tokens(self, x):
        return self.final_norm(x)

    def _pooled(self, tokens, token_ids, padding_mask):
        if self.pool == "end_of_text":
            return pool_end_of_text(tokens, token_ids, self.eot_id)
        if self.pool == "attention":
            return self.attention_pool(tokens, padding_mask=padding_mask)
        return super()._pooled(tokens, token_ids, padding_mask)
