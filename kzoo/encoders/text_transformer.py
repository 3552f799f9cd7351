"""The text transformer of CLIP and CoCa: token ids in, embedding and tokens out."""

from functools import partial

import keras
from keras import ops

from kzoo.arguments import COUNT, one_of
from kzoo.encoders.sequence import SEQUENCE_OPTIONS, SequenceTower, kept
from kzoo.encoders.token_ids import TextTower, check_token_ids
from kzoo.layers.initializers import Normal
from kzoo.layers.linear import dense
from kzoo.layers.numerics import embed, layer_norm
from kzoo.layers.pooling import end_of_text, pool_end_of_text, pool_mean, until_end_of_text
from kzoo.layers.transformer import transformer_blocks
from kzoo.types import Tensor

POOLS = ("end_of_text", "last", "class_embedding", "average")
CLASS_MASKS = ("shifted", "exact")


@keras.saving.register_keras_serializable(package="kzoo")
class TextTransformer(SequenceTower, TextTower):
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
        pool: `"end_of_text"` (the first position whose id is `eot_id`), `"last"`, `"class_embedding"`: a learned
            token appended to the text, as in CoCa, with a row of its own at the end of the position table; or
            `"average"`: over the real tokens with `mask_padding`, else over all positions, padding too, as in MaMMUT.
        eot_id: id of the end-of-text token.
        mask_padding: hide padding from the attention where `padding_mask` is given; of the pool `"average"` in any
            case, where it then is what has the id `pad_id`.
        class_mask: which keys the appended token sees. `"exact"`: the ids that are not `pad_id`, and itself.
            `"shifted"`: the mask of every released CoCa, which is one place off: the first pad id is seen, and the
            token itself only where the text fills the context.
        pad_id: id of padding; read by `class_mask` and the pool `"average"` only.
        projection_bias: bias of the last projection.
        layer_scale: initial gain of the block branches, or None.
        dropout: rate in the blocks while training.
        fused: one matmul for query, key and value.
        epsilon: of the layer norms.
        mask_token: have a learned vector for hidden ids.
        bare_every: of so many blocks the first is attention alone, without an MLP, as in MaMMUT's smaller models; None:
            each has one.

    Inputs:
        token_ids: int tensor `(batch, length)`, `length <= context_length`.
        padding_mask: bool tensor `(batch, length)`, True where an id is real, or None; read with `mask_padding` only.
        mask, keep, embeddings, prompts, layers, until, tokens: see `kzoo.encoders.Tower`; a position is an id. Of
            texts whose end is pooled, `keep` must keep it.

    Returns:
        dict: `"embedding"` `(batch, embed_dim)`, not normalised; `"tokens"` `(batch, length, width)`, after
        the final norm, with `"class_embedding"` before it; `"token_mask"` bool `(batch, length)`, True up to the end of
        text where that is pooled, at ids that are not `pad_id` with `"class_embedding"`, or the padding mask that was
        read; with the pool `"last"` and no mask it is not there.

    Raises:
        ValueError: unknown pool, ids of another rank or longer than the context.

    Example:
        >>> tower = TextTransformer(vocab_size=512, context_length=16, width=64, depth=2, num_heads=4, eot_id=2)
        >>> tower(np.array([[1, 7, 2, 0]]))["embedding"].shape
        (1, 64)

    Reference:
        Radford et al., CLIP, 2021, arXiv 2103.00020; the appended token: Yu et al., CoCa, 2022, arXiv 2205.01917; the
        average: Kuo et al., MaMMUT, 2023, arXiv 2303.16839.
    """

    kind, title = "text_transformer", "text transformer"
    options = SEQUENCE_OPTIONS | {"tokens"}
    after_stack = ("final_norm", "projection")
    position_path = "position_embedding"
    arguments = {"pool": one_of(*POOLS), "class_mask": one_of(*CLASS_MASKS), "bare_every": COUNT | None}

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
        class_mask="shifted",
        pad_id=0,
        projection_bias=False,
        layer_scale=None,
        dropout=0.0,
        fused=False,
        epsilon=1e-5,
        mask_token=False,
        bare_every=None,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.vocab_size, self.context_length = vocab_size, context_length
        self.width, self.embed_dim, self.token_dim, self.causal = width, embed_dim or width, width, causal
        self._declare_sequence(depth, mask_token)
        self.pool, self.class_mask, self.pad_id = pool, class_mask, pad_id
        self.eot_id = eot_id if pool == "end_of_text" else None
        # the appended token has a mask of its own, made of the ids
        self.reads_padding_mask = mask_padding and pool != "class_embedding"
        self.position_tail = int(pool == "class_embedding")

        # -- layers --
        self.blocks = self._make_blocks(
            depth,
            without_mlp=range(0, depth, bare_every) if bare_every else (),
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
        self.num_blocks = len(self.blocks)
        self.final_norm = layer_norm(epsilon, "final_norm")
        self.projection = None
        if embed_dim is not None:
            self.projection = dense(embed_dim, width**-0.5, self.dtype_policy, "projection", projection_bias)
        self.build((None, context_length))

    def _make_blocks(self, depth, **of_blocks) -> list:
        """What its tokens go through, a list of layers; the options are those of `TransformerBlock`."""
        return transformer_blocks(depth, self.dtype_policy, **of_blocks)

    def build(self, token_ids_shape, padding_mask_shape=None) -> None:
        self.token_embedding = self.add_weight(
            name="token_embedding", shape=(self.vocab_size, self.width), initializer=Normal(stddev=0.02)
        )
        self.class_embedding = None
        if self.pool == "class_embedding":
            self.class_embedding = self.add_weight(
                name="class_embedding", shape=(1, self.width), initializer=Normal(stddev=0.01)
            )
        rows = self.context_length + (self.class_embedding is not None)
        self.position_embedding = self.add_weight(
            name="position_embedding", shape=(rows, self.width), initializer=Normal(stddev=0.01)
        )
        for layer in (*self.blocks, self.final_norm):
            layer.build((*token_ids_shape, self.width))
        if self.projection is not None:
            self.projection.build((None, self.width))
        self._build_mask_token()

    # -- forward --
    def call(
        self,
        token_ids,
        padding_mask=None,
        training=None,
        mask=None,
        keep=None,
        embeddings=None,
        prompts=None,
        layers=(),
        until=None,
        tokens=True,
    ) -> dict:
        length = check_token_ids(token_ids.shape, self.context_length)
        x = self.embed(token_ids) if embeddings is None else self._standing_in(embeddings, length)
        x = self._hidden(x, mask)  # (batch, length, width)
        padding_mask = self._padding_mask(token_ids, padding_mask)
        token_mask = self._token_mask(token_ids, padding_mask)
        tail = int(self.class_embedding is not None)
        if tail:
            # a zero row behind, and a table that holds the token: no operation reads the batch size
            x = ops.pad(x, ((0, 0), (0, 1), (0, 0)))
            x = x + ops.pad(ops.convert_to_tensor(self.class_embedding), ((length, 0), (0, 0)))
            padding_mask = self._class_mask(token_ids)
        x = x + self.position_embedding[: length + tail]
        order = None
        if keep is not None:
            x, padding_mask = (kept(each, keep, after=tail) for each in (x, padding_mask))
            token_ids, token_mask = (kept(each, keep) for each in (token_ids, token_mask))
            if self.causal:
                order = ops.pad(keep, ((0, 0), (0, tail)), constant_values=length)
        alone = None
        if self.pools_alone(tokens, layers, until, prompts, keep=keep):
            alone = self._alone(token_ids)
        finish = partial(self._finished, token_ids, padding_mask, alone)
        outputs = self._run(
            x,
            finish,
            1,
            padding_mask=padding_mask,
            order=order,
            prompts=prompts,
            layers=layers,
            until=until,
            training=training,
            alone=alone,
        )
        return outputs if token_mask is None else outputs | {"token_mask": token_mask}

    def embed(self, token_ids, padding_mask=None) -> Tensor:
        return embed(self.token_embedding, token_ids)

    def _padding_mask(self, token_ids, given):
        """What the attention and the average see, bool `(batch, length)`; None where they see all."""
        if not self.reads_padding_mask:
            return None
        if given is None and self.pool == "average":
            return ops.not_equal(token_ids, self.pad_id)
        return given

    def _alone(self, token_ids):
        """Which position is pooled and what it sees, as the last block takes it; None where many are."""
        if self.pool != "end_of_text":
            return {"place": -1} if self.pool in ("class_embedding", "last") else None
        place = {"place": end_of_text(token_ids, self.eot_id)}
        if self.causal:
            place["visible"] = ops.expand_dims(until_end_of_text(token_ids, self.eot_id), 1)
        return place

    def _finished(self, token_ids, padding_mask, alone, x):
        """What leaves a block, `(batch, length [+ 1], width)`, as `(embedding, tokens)`."""
        if self.class_embedding is not None:
            embedding, tokens = self.final_norm(x[:, -1]), x[:, :-1]
        else:
            tokens = self.final_norm(x)
            embedding = self._pooled(tokens, token_ids, padding_mask, alone)
        return embedding if self.projection is None else self.projection(embedding), tokens

    def _pooled(self, tokens, token_ids, padding_mask, alone):
        if self.pool == "end_of_text" and alone is not None:
            return tokens[:, 0] * ops.cast(ops.sum(alone["place"], axis=-1), tokens.dtype)  # zeros without an end
        if self.pool == "end_of_text":
            return pool_end_of_text(tokens, token_ids, self.eot_id)
        if self.pool == "last":
            return tokens[:, -1]
        return ops.mean(tokens, axis=1) if padding_mask is None else pool_mean(tokens, padding_mask)

    def step(self, step, cache) -> tuple:
        """The tokens at one position of each row, as a causal tower's `call` gives them, and the cache with it.

        Args:
            step: `kzoo.layers.step.Step`.
            cache: per block keys and values `(rows, heads, S, width / heads)` of the positions before.

        Returns:
            `(tokens, cache)`: `(rows, 1, width)`, and the cache with this position.
        """
        x = embed(self.token_embedding, step.ids) + step.rows_of(self.position_embedding)
        visible, caches = step.seen, []
        if self.class_embedding is not None:
            visible = ops.logical_and(visible, ops.cast(self._class_mask(step.token_ids)[:, :-1], "bool"))
        for block, past in zip(self.blocks, cache, strict=True):
            x, past = block.step(x, past, step.at, visible)
            caches.append(past)
        return (x if self.class_embedding is not None else self.final_norm(x)), caches

    def _token_mask(self, token_ids, padding_mask):
        """Which ids are real, bool `(batch, length)`; None where that is not known."""
        if padding_mask is not None:
            return ops.cast(padding_mask, "bool")
        if self.eot_id is not None:
            return until_end_of_text(token_ids, self.eot_id)
        return ops.not_equal(token_ids, self.pad_id) if self.class_embedding is not None else None

    def _class_mask(self, token_ids):
        """Keys that are seen, `(batch, length + 1)`; the causal mask decides for the ids among themselves."""
        real = ops.cast(ops.not_equal(token_ids, self.pad_id), "int32")
        side = (1, 0) if self.class_mask == "shifted" else (0, 1)
        return ops.pad(real, ((0, 0), side), constant_values=1)
