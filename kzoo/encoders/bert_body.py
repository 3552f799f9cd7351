"""What BERT's text tower and decoder share: embeddings and post-norm blocks."""

import keras

from kzoo.encoders.token_ids import counted_positions
from kzoo.layers.configured import Configured
from kzoo.layers.initializers import Normal
from kzoo.layers.numerics import embed, layer_norm
from kzoo.layers.post_norm import PostNormBlock
from kzoo.types import Tensor

STDDEV = 0.02  # of every table


class BertBody(Configured, keras.layers.Layer):
    """Embeddings and post-norm blocks; the base of `BertEncoder` and `BertDecoder`.

    A subclass's constructor takes the arguments below, calls `_make_body()` and then
    `self.build((None, context_length))`.
    """

    causal = False
    position_path = "position_embedding"

    def _make_body(self):
        given = self._arguments  # of the constructor
        self.vocab_size, self.context_length, self.width = (
            given[name] for name in ("vocab_size", "context_length", "width")
        )
        self.pad_id, self.token_types, self.cross_width = (
            given[name] for name in ("pad_id", "token_types", "cross_width")
        )
        self.positions_from_padding = given.get("positions_from_padding", False)
        first_position = self.pad_id + 1 if self.positions_from_padding else 0
        self.num_positions = given["num_positions"] or self.context_length + first_position
        if self.context_length > self.num_positions - first_position:
            raise ValueError(
                f"context_length is {self.context_length}, but a table of num_positions={self.num_positions} has room "
                f"for {self.num_positions - first_position} ids; choose a shorter context or a longer table."
            )
        options = {name: given[name] for name in ("num_heads", "activation", "cross_width", "dropout", "epsilon")}
        options |= {"mlp_dim": given["mlp_dim"] or 4 * self.width, "dtype": self.dtype_policy}

        # -- layers --
        self.embedding_norm = layer_norm(given["epsilon"], "embedding_norm")
        self.blocks = [
            PostNormBlock(self.width, causal=self.causal, name=f"block_{number}", **options)
            for number in range(given["depth"])
        ]
        self.embedding_dropout = None
        if given["dropout"]:
            self.embedding_dropout = keras.layers.Dropout(
                given["dropout"], dtype=self.dtype_policy, name="embedding_dropout"
            )

    def build(self, token_ids_shape, padding_mask_shape=None) -> None:
        def table(name, rows):
            return self.add_weight(name=name, shape=(rows, self.width), initializer=Normal(stddev=STDDEV))

        self.token_embedding = table("token_embedding", self.vocab_size)
        self.position_embedding = table("position_embedding", self.num_positions)
        self.type_embedding = table("type_embedding", self.token_types) if self.token_types else None
        for layer in (self.embedding_norm, *self.blocks, self.embedding_dropout):
            if layer is not None:
                layer.build((None, self.context_length, self.width))

    def _entered(self, x, token_ids, training):
        """The embeddings `(batch, length, width)` of token ids, as they enter the first block."""
        x = self._placed(x, self._positions(token_ids, x.shape[1]))
        return x if self.embedding_dropout is None else self.embedding_dropout(x, training=training)

    def embed(self, token_ids, padding_mask=None) -> Tensor:
        """Rows of the token table, `(batch, length, width)`, before positions and norm."""
        return embed(self.token_embedding, token_ids)

    def _placed(self, x, positions):
        x = x + positions
        if self.type_embedding is not None:
            x = x + self.type_embedding[0]  # a text alone is all of the first type
        return self.embedding_norm(x)

    def _positions(self, token_ids, length):
        """Rows of the position table: in order, or counted over the real ids, where padding has the row of its id."""
        if not self.positions_from_padding:
            return self.position_embedding[:length]
        return embed(self.position_embedding, counted_positions(token_ids, self.pad_id))
