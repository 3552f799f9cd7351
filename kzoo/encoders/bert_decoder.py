"""BLIP's captioning decoder: BERT with a causal mask and cross-attention."""

import keras
from keras import ops

from kzoo.encoders.bert_body import BertBody
from kzoo.encoders.decoder_output import DecoderOutput
from kzoo.encoders.token_ids import check_token_ids
from kzoo.layers.linear import dense
from kzoo.layers.numerics import activation_function, layer_norm


@keras.saving.register_keras_serializable(package="kzoo")
class BertDecoder(DecoderOutput, BertBody):
    """Captioning decoder in BERT's layout: causal post-norm blocks that attend to image tokens, next-token logits.

    Args:
        vocab_size, context_length, width, depth, num_heads, mlp_dim: see `BertEncoder`.
        cross_width: width of the image tokens.
        num_positions, token_types, pad_id, activation, dropout, epsilon: see `BertEncoder`.

    Inputs:
        token_ids: int tensor `(batch, length)`.
        image_tokens: float tensor `(batch, S, cross_width)`.
        padding_mask: bool tensor `(batch, length)`, True where an id is real; default all are, which is the same
            where padding stands at the end: no real id sees it there.

    Returns:
        float tensor `(batch, length, width)` of states, which `logits` turns into `(batch, length, vocab_size)`.

    Example:
        >>> decoder = BertDecoder(512, 16, width=64, depth=2, num_heads=4, cross_width=48)
        >>> decoder.logits(decoder(np.array([[1, 7, 9]]), np.zeros((1, 17, 48)))).shape
        (1, 3, 512)

    Reference:
        Li et al., BLIP, 2022, arXiv 2201.12086.
    """

    kind, title = "bert_decoder", "BERT decoder"
    position_path = "position_embedding"
    reads_text_tokens = False  # its inputs are token ids
    causal = True

    def __init__(
        self,
        vocab_size,
        context_length,
        width,
        depth,
        num_heads,
        cross_width,
        mlp_dim=None,
        num_positions=None,
        token_types=0,
        pad_id=0,
        activation="gelu",
        dropout=0.0,
        epsilon=1e-12,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self._make_body()
        self.head_dense = dense(width, width**-0.5, self.dtype_policy, "head_dense")
        self.head_norm = layer_norm(epsilon, "head_norm")
        self.activation = activation_function(activation)
        self.build((None, context_length))

    def build(self, token_ids_shape, image_tokens_shape=None, padding_mask_shape=None) -> None:
        super().build(token_ids_shape)
        self.head_dense.build((None, None, self.width))
        self.head_norm.build((None, None, self.width))
        self.head_bias = self.add_weight(name="head_bias", shape=(self.vocab_size,), initializer="zeros")

    # -- forward --
    def call(self, token_ids, image_tokens, padding_mask=None, training=None) -> dict:
        check_token_ids(token_ids.shape, self.context_length)
        x = self._entered(self.embed(token_ids), token_ids, training)
        for block in self.blocks:
            x = block(x, context=image_tokens, padding_mask=padding_mask, training=training)
        return self._states(x)

    def _states(self, x):
        return self.head_norm(self.activation(self.head_dense(x)))  # (batch, length, width)

    def memory(self, image_tokens) -> list:
        """What `step` needs of the image tokens: per block keys and values, `(batch, heads, S, d)` each."""
        return [block.memory(image_tokens) for block in self.blocks]

    def step(self, step, token_ids, cache, memory, copies=1) -> tuple:
        """The states at one position of each row; arguments and result as in `MultimodalDecoder.step`."""
        x, caches = self._placed(self.embed(token_ids), step.rows_of(self.position_embedding)), []
        for block, past, context in zip(self.blocks, cache, memory, strict=True):
            x, past = block.step(x, past, step.at, step.seen, context, copies)
            caches.append(past)
        return self._states(x), caches

    def output_weights(self) -> tuple:
        """Kernel `(width, vocab_size)`, which is the token table, and bias `(vocab_size,)` of `logits`."""
        table, bias = (ops.convert_to_tensor(each) for each in (self.token_embedding, self.head_bias))
        return ops.transpose(table), bias
