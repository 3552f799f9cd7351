"""A captioning decoder that reads token ids, to put on any image tower."""

import keras
from keras import ops

from kzoo.encoders.decoder_body import DecoderBody
from kzoo.encoders.token_ids import check_token_ids
from kzoo.layers.embedding_memory import EmbeddingMemory
from kzoo.layers.embedding_noise import GaussianEmbeddingNoise
from kzoo.layers.initializers import Normal
from kzoo.layers.numerics import embed
from kzoo.types import Tensor


@keras.saving.register_keras_serializable(package="kzoo")
class TextDecoder(DecoderBody):
    """Token ids and image tokens in, next-token logits out: causal and cross-attention blocks in turn, pre-norm.

    The output weights are the token table: a second matrix of the size of the vocabulary would be most of a small
    decoder.

    Args:
        vocab_size: rows of the token table, columns of the output.
        context_length: rows of the position table; shorter inputs are welcome.
        width: channels of the residual stream.
        depth: number of pairs of blocks: one with causal self-attention, one with cross-attention, each with its
            own MLP.
        num_heads: attention heads per block.
        context_width: channels of the image tokens, or of the image embedding with `embedding_tokens`.
        embedding_tokens: read the image's embedding, as so many tokens made of it by an `EmbeddingMemory`. None: read
            the image's tokens.
        noise: standard deviation, per channel, of the noise on a text embedding that stands for an image embedding in
            training; see `GaussianEmbeddingNoise`.
        start_id: id that a caption begins with, before the ids of its text; None where texts have one of their own.
        pad_id: id of padding.
        mlp_dim: hidden width of the MLPs; default `4 * width`.
        activation: of the MLPs.
        layer_scale: initial gain of the block branches, or None.
        dropout: rate in the blocks while training.
        epsilon: of the layer norms.

    Inputs:
        token_ids: int tensor `(batch, length)`.
        image_tokens: float tensor `(batch, S, context_width)`; with `embedding_tokens` what `tokens_of` gives.
        padding_mask: bool tensor `(batch, length)`, or None: padding stands at the end, where no real token sees it.

    Returns:
        float32 tensor `(batch, length, width)` of states, which `logits` turns into `(batch, length, vocab_size)`.

    Raises:
        ValueError: noise without `embedding_tokens`; a start id outside of the vocabulary; ids of another rank or
            longer than the context.

    Example:
        >>> decoder = TextDecoder(512, 16, width=64, depth=2, num_heads=4, context_width=48)
        >>> decoder.logits(decoder(np.array([[1, 7, 9]]), np.zeros((1, 17, 48)))).shape
        (1, 3, 512)

    Reference:
        Vaswani et al., Attention Is All You Need, 2017, arXiv 1706.03762; blocks as in Yu et al., CoCa, 2022, arXiv
        2205.01917; the tied table: Press and Wolf, 2016, arXiv 1608.05859.
    """

    kind, title = "text_decoder", "text decoder"
    position_path = "position_embedding"
    reads_text_tokens = False  # its inputs are token ids

    def __init__(
        self,
        vocab_size,
        context_length,
        width,
        depth,
        num_heads,
        context_width,
        embedding_tokens=None,
        noise=0.0,
        start_id=None,
        pad_id=0,
        mlp_dim=None,
        activation="gelu",
        layer_scale=None,
        dropout=0.0,
        epsilon=1e-5,
        **kwargs,
    ):
        super().__init__(**kwargs)
        if noise and embedding_tokens is None:
            raise ValueError(
                f"noise is {noise}, but this decoder reads image tokens, and noise is for embeddings; give "
                "embedding_tokens, or leave noise out."
            )
        if start_id is not None and not 0 <= start_id < vocab_size:
            raise ValueError(f"start_id is {start_id}, but the vocabulary has the ids 0 to {vocab_size - 1}.")
        self.context_length, self.context_width = context_length, context_width
        self.start_id, self.pad_id = start_id, pad_id
        self.embedding_memory = self.embedding_noise = None
        if embedding_tokens is not None:
            self.embedding_memory = EmbeddingMemory(
                embedding_tokens, width, dtype=self.dtype_policy, name="embedding_memory"
            )
            self.embedding_noise = GaussianEmbeddingNoise(noise, name="embedding_noise")
        self._make_body()
        self.build((None, context_length))

    def build(self, token_ids_shape, image_tokens_shape=None, padding_mask_shape=None) -> None:
        self.token_embedding = self.add_weight(
            name="token_embedding", shape=(self.vocab_size, self.width), initializer=Normal(stddev=0.02)
        )
        self.position_embedding = self.add_weight(
            name="position_embedding", shape=(self.context_length, self.width), initializer=Normal(stddev=0.01)
        )
        if self.reads_embedding:
            self.embedding_memory.build((None, self.context_width))
        self._build_body(self.width if self.reads_embedding else self.context_width)

    @property
    def reads_embedding(self) -> bool:
        """Whether it attends to tokens made of the image embedding, in place of the image's tokens."""
        return self.embedding_memory is not None

    # -- forward --
    def call(self, token_ids, image_tokens, padding_mask=None, training=None) -> dict:
        length = check_token_ids(token_ids.shape, self.context_length)
        x = embed(self.token_embedding, token_ids) + self.position_embedding[:length]  # (batch, length, width)
        return self._states(x, image_tokens, padding_mask, training)

    def tokens_of(self, embedding) -> Tensor:
        """What a decoder with `embedding_tokens` attends to: `(batch, embed_dim)` to `(batch, tokens, width)`."""
        return self.embedding_memory(embedding)

    def step(self, step, token_ids, cache, memory, copies=1) -> tuple:
        """The states at one position of each row; arguments and result as in `MultimodalDecoder.step`."""
        x = embed(self.token_embedding, token_ids) + step.rows_of(self.position_embedding)
        return self._stepped(step, x, cache, memory, copies)

    def output_weights(self) -> tuple:
        """Kernel `(width, vocab_size)` of `logits`, which is the token table, and None for the bias that it has not."""
        return ops.transpose(ops.convert_to_tensor(self.token_embedding)), None
