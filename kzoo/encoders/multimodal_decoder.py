"""CoCa's captioning decoder: causal blocks and cross-attention blocks in turn."""

import keras

from kzoo.encoders.decoder_body import DecoderBody
from kzoo.layers.changed import plain_kernel
from kzoo.layers.linear import dense


@keras.saving.register_keras_serializable(package="kzoo")
class MultimodalDecoder(DecoderBody):
    """Text tokens of the unimodal tower and image tokens in, next-token logits out.

    Args:
        vocab_size: columns of the output.
        width: channels of text tokens and of image tokens.
        depth: number of pairs of blocks: one with causal self-attention, one with cross-attention, each with its
            own MLP.
        num_heads: attention heads per block.
        mlp_dim: hidden width of the MLPs; default `4 * width`.
        activation: of the MLPs.
        layer_scale: initial gain of the block branches, or None.
        dropout: rate in the blocks while training.
        epsilon: of the layer norms.

    Inputs:
        text_tokens: float tensor `(batch, length, width)`.
        image_tokens: float tensor `(batch, S, width)`.
        padding_mask: bool tensor `(batch, length)`, or None: padding stands at the end, where no real token sees it.

    Returns:
        float32 tensor `(batch, length, width)` of states, which `logits` turns into `(batch, length, vocab_size)`.

    Example:
        >>> decoder = MultimodalDecoder(vocab_size=512, width=32, depth=2, num_heads=4)
        >>> decoder.logits(decoder(np.zeros((1, 14, 32)), np.zeros((1, 8, 32)))).shape
        (1, 14, 512)

    Reference:
        Yu et al., CoCa, 2022, arXiv 2205.01917.
    """

    kind, title = "multimodal_decoder", "transformer decoder"
    reads_text_tokens = True  # of the model's text tower

    def __init__(
        self,
        vocab_size,
        width,
        depth,
        num_heads,
        mlp_dim=None,
        activation="gelu",
        layer_scale=None,
        dropout=0.0,
        epsilon=1e-5,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self._make_body()
        self.head = dense(vocab_size, width**-0.5, self.dtype_policy, "head", use_bias=False)
        self.build((None, None, width))

    def build(self, text_tokens_shape, image_tokens_shape=None, padding_mask_shape=None) -> None:
        self._build_body(self.width)
        self.head.build((None, None, self.width))

    # -- forward --
    def call(self, text_tokens, image_tokens, padding_mask=None, training=None) -> dict:
        return self._states(text_tokens, image_tokens, padding_mask, training)  # (batch, length, width)

    def step(self, step, text_tokens, cache, memory, copies=1) -> tuple:
        """The states at one position of each row, as `call` gives them.

        Args:
            step: `kzoo.layers.step.Step`.
            text_tokens: float tensor `(rows, 1, width)`, at that position.
            cache: per block keys and values `(rows, heads, S, width / heads)` of the positions before.
            memory: as `memory` gives it, of `rows / copies` pictures.
            copies: rows per picture, beside each other.

        Returns:
            `(states, cache)`: `(rows, 1, width)`, and the cache with this position.
        """
        return self._stepped(step, text_tokens, cache, memory, copies)

    def output_weights(self) -> tuple:
        """Kernel `(width, vocab_size)` of `logits`, and None for the bias that it has not."""
        return plain_kernel(self.head), None
