"""A text from its embedding and what is left of its tokens (RetroMAE)."""

import keras
import numpy as np
from keras import ops

from kzoo.arguments import number
from kzoo.layers.attention import Attention
from kzoo.layers.configured import Configured
from kzoo.layers.initializers import Normal
from kzoo.layers.linear import dense
from kzoo.layers.numerics import gelu, layer_norm
from kzoo.types import Tensor


@keras.saving.register_keras_serializable(package="kzoo")
class SentenceDecoder(Configured, keras.layers.Layer):
    """One layer that writes a text again: so light that the embedding of the text must hold what it says.

    Enhanced decoding: with the embedding `h`, token vectors `e` and positions `p`, the queries `h + p_i` see the keys
    `h` and `e_j + p_j`, each query `h` and another random set of tokens, never its own. So every token is a target, not
    only those that were hidden: `norm(q + attention(q, keys))`, `norm(x + mlp(x))`, logits `x e^T + b`.

    Args:
        vocab_size: ids of the vocabulary.
        context_length: most tokens of a text.
        width: of the decoder.
        num_heads: of its attention.
        mlp_dim: hidden width of its MLP; default four times `width`.
        visible: share of the other tokens that a query sees while training; otherwise it sees all of them.
        epsilon: of the layer norms.
        seed: of what is drawn; default a new one.

    Inputs:
        sentence: float tensor `(batch, any)`, the embedding of a text of which the tower saw a part.
        token_ids: int tensor `(batch, length)`, the whole text.
        mask: bool tensor `(batch, length)`, True where a token is real.

    Returns:
        float32 tensor `(batch, length, vocab_size)`, logits of the token at each place.

    Raises:
        ValueError: a share outside (0, 1], or texts of more than `context_length` tokens.

    Recommendations:
        For embeddings that are to be found by, before they are tuned by pairs: beside the masked language model of the
        tower, with more hidden from the decoder (half) than from the tower (0.15 to 0.3).

    Example:
        >>> decoder = SentenceDecoder(vocab_size, 128, width=768, num_heads=12)
        >>> heads = [Head(Classifier(vocab_size), "view_1_tokens", "word_logits"),
        ...          Head(decoder, ("view_1_features", "view_1_labels", "view_1_token_mask"), "decoded_logits")]
        >>> model = kzoo.SelfSupervised(text_encoder, projector=False, heads=heads)
        >>> words = Captioning(inputs=("word_logits", "view_1_labels"), mask="view_1_positions")
        >>> again = Captioning(inputs=("decoded_logits", "view_1_labels"), mask="view_1_token_mask")
        >>> model.compile("clip_adamw", loss=words + again)
        >>> model.fit(kzoo.data.text_views(texts, preprocessor, views=1, masks=RandomTokens(tokenizer, 0.3)))

    Reference:
        Xiao et al., RetroMAE, 2022, arXiv 2205.12035, whose decoder has the token vectors of its tower; these are its
        own.
    """

    arguments = {"visible": number(above=0, most=1)}

    def __init__(
        self,
        vocab_size,
        context_length,
        width,
        num_heads,
        mlp_dim=None,
        visible=0.5,
        epsilon=1e-12,
        seed=None,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.vocab_size, self.context_length, self.width = vocab_size, context_length, width
        self.visible = visible
        self.seed_generator = keras.random.SeedGenerator(seed)
        policy, mlp_dim = self.dtype_policy, mlp_dim or 4 * width

        # -- layers --
        self.attention = Attention(width, num_heads, dtype=policy, name="attention")
        self.attention_norm = layer_norm(epsilon, "attention_norm")
        self.mlp_up = dense(mlp_dim, width**-0.5, policy, "mlp_up")
        self.mlp_down = dense(width, mlp_dim**-0.5, policy, "mlp_down")
        self.mlp_norm = layer_norm(epsilon, "mlp_norm")

    def build(self, sentence_shape, token_ids_shape=None, mask_shape=None) -> None:
        of_tokens = (None, None, self.width)
        self.sentence = dense(self.width, sentence_shape[-1] ** -0.5, self.dtype_policy, "sentence")
        self.sentence.build(sentence_shape)
        self.token_embedding = self.add_weight(
            name="token_embedding", shape=(self.vocab_size, self.width), initializer=Normal(stddev=0.02)
        )
        self.position_embedding = self.add_weight(
            name="position_embedding", shape=(self.context_length, self.width), initializer=Normal(stddev=0.02)
        )
        self.bias = self.add_weight(name="bias", shape=(self.vocab_size,), initializer="zeros", autocast=False)
        for layer in (self.attention, self.attention_norm, self.mlp_up, self.mlp_norm):
            layer.build(of_tokens)
        self.mlp_down.build((None, None, self.mlp_up.units))

    def compute_output_shape(self, sentence_shape, token_ids_shape, mask_shape) -> tuple:
        return (*token_ids_shape, self.vocab_size)

    # -- forward --
    def call(self, sentence, token_ids, mask, training=None) -> Tensor:
        length = token_ids.shape[1]
        if length > self.context_length:
            raise ValueError(
                f"the texts have {length} tokens, but this decoder takes {self.context_length} at most; give it a "
                "context_length of as many."
            )
        ids, table = ops.cast(token_ids, "int32"), ops.convert_to_tensor(self.token_embedding)
        positions = self.position_embedding[:length]
        h = ops.expand_dims(self.sentence(sentence), 1)  # (batch, 1, width)
        queries = h + positions  # (batch, length, width)
        keys = ops.concatenate([h, ops.take(table, ids, axis=0) + positions], axis=1)  # (batch, 1 + length, width)
        mixed = self.attention(queries, keys, visible=self._seen(ops.cast(mask, "bool"), training))
        x = self.attention_norm(ops.add(queries, mixed))
        x = self.mlp_norm(ops.add(x, self.mlp_down(gelu(self.mlp_up(x)))))
        return ops.cast(ops.matmul(ops.cast(x, table.dtype), ops.transpose(table)), "float32") + self.bias

    def _seen(self, mask, training):
        """bool `(batch, length, 1 + length)`: the keys that each query sees, the embedding always, its own never."""
        length = mask.shape[1]
        others = ops.logical_and(ops.expand_dims(mask, 1), ~np.eye(length, dtype="bool"))  # (batch, length, length)
        if training:
            drawn = keras.random.uniform(ops.shape(others), seed=self.seed_generator)
            others = ops.logical_and(others, drawn < self.visible)
        return ops.pad(others, ((0, 0), (0, 0), (1, 0)), constant_values=True)
