"""What text towers that look both ways share: ids in, a pooled vector out."""

from functools import partial

from keras import ops

from kzoo.arguments import one_of
from kzoo.encoders.sequence import SequenceTower, kept
from kzoo.encoders.token_ids import TextTower, check_token_ids
from kzoo.layers.pooling import pool_max, pool_mean
from kzoo.layers.projection import Projection

POOLS = ("first", "mean", "max")


class PooledText(SequenceTower, TextTower):
    """Base of the text towers that mask padding, pool the real tokens and project what they get.

    A subclass's constructor takes `embed_dim`, `pool`, `hidden_dim`, `hidden_activation` and `projection_bias`, makes
    its embeddings and blocks, sets `token_dim` and calls `_make_head()`; its `build` ends with `_build_head()`. It
    defines `_entered` and may define `_tokens`, `_pooled` and `_between`.
    """

    after_stack: tuple[str, ...] = ("projection",)
    reads_padding_mask = True
    arguments = {"pool": one_of(*POOLS)}

    def _make_head(self):
        given = self._arguments  # of the constructor
        embed_dim, self.pool = given["embed_dim"], given["pool"]
        self.embed_dim, self.projection = embed_dim or self.token_dim, None
        if embed_dim is not None:
            options = (given[name] for name in ("hidden_dim", "hidden_activation", "projection_bias"))
            self.projection = Projection(embed_dim, *options, dtype=self.dtype_policy, name="projection")

    def _build_head(self):
        if self.projection is not None:
            self.projection.build((None, self.token_dim))
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
    ) -> dict:
        options = {"mask": mask, "keep": keep, "embeddings": embeddings}
        return self._read(token_ids, padding_mask, training, **options, prompts=prompts, layers=layers, until=until)

    def _read(self, token_ids, padding_mask, training, mask, keep, embeddings, **options):
        length = check_token_ids(token_ids.shape, self.context_length)
        if padding_mask is None:
            padding_mask = ops.not_equal(token_ids, self.pad_id)
        x = self.embed(token_ids) if embeddings is None else self._standing_in(embeddings, length)
        x = self._entered(self._hidden(x, mask), token_ids, training)  # (batch, length, width)
        between = self._between(length, keep)
        if keep is not None:
            x, padding_mask, token_ids = (kept(each, keep) for each in (x, padding_mask, token_ids))
        finish = partial(self._finished, token_ids, padding_mask)
        outputs = self._run(x, finish, 1, padding_mask=padding_mask, training=training, **between, **options)
        return outputs | {"token_mask": ops.cast(padding_mask, "bool")}

    def _entered(self, x, token_ids, training):
        """The embeddings `(batch, length, width)` of token ids, as they enter the first block."""
        raise NotImplementedError(f"{type(self).__name__} does not say how embeddings enter its blocks.")

    def _between(self, length, keep):
        """What the blocks are told of pairs of positions, as arguments of `_run`."""
        return {}

    def _tokens(self, x):
        """The tokens `(batch, length, token_dim)` of what leaves a block, `(batch, length, width)`."""
        return x

    def _pooled(self, tokens, token_ids, padding_mask):
        """The vector `(batch, token_dim)` of the tokens that stayed."""
        if self.pool == "first":
            return tokens[:, 0]
        return {"mean": pool_mean, "max": pool_max}[self.pool](tokens, padding_mask)

    def _finished(self, token_ids, padding_mask, x):
        tokens = self._tokens(x)
        embedding = self._pooled(tokens, token_ids, padding_mask)
        return embedding if self.projection is None else self.projection(embedding), tokens
