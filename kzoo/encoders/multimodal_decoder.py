"""CoCa's captioning decoder: causal blocks and cross-attention blocks in turn."""

import keras
from keras import ops

from kzoo.layers.configured import Configured
from kzoo.layers.numerics import layer_norm
from kzoo.layers.step import fold, unfold
from kzoo.layers.transformer import dense, transformer_blocks


@keras.saving.register_keras_serializable(package="kzoo")
class MultimodalDecoder(Configured, keras.layers.Layer):
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

    kind = "multimodal_decoder"  # its name in preset tables
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
        self.vocab_size, self.width = vocab_size, width
        policy = self.dtype_policy
        options = {
            "width": width,
            "num_heads": num_heads,
            "mlp_dim": mlp_dim or 4 * width,
            "activation": activation,
            "layer_scale": layer_scale,
            "dropout": dropout,
            "epsilon": epsilon,
        }

        # -- layers --
        self.blocks = transformer_blocks(depth, policy, causal=True, **options)
        self.cross_blocks = transformer_blocks(depth, policy, cross=True, **options)
        self.final_norm = layer_norm(epsilon, "final_norm")
        self.head = dense(vocab_size, width**-0.5, policy, "head", use_bias=False)
        self.build((None, None, width))

    def build(self, text_tokens_shape, image_tokens_shape=None, padding_mask_shape=None):
        for layer in (*self.blocks, *self.cross_blocks, self.final_norm, self.head):
            layer.build((None, None, self.width))

    # -- forward --
    def call(self, text_tokens, image_tokens, padding_mask=None, training=None):
        x = text_tokens
        for block, cross_block in zip(self.blocks, self.cross_blocks):
            x = block(x, padding_mask=padding_mask, training=training)
            x = cross_block(x, context=image_tokens, training=training)
        return self.final_norm(x)  # (batch, length, width)

    def memory(self, image_tokens):
        """What `step` needs of the image tokens: per cross block keys and values, `(batch, S, width)` each."""
        return [block.memory(image_tokens) for block in self.cross_blocks]

    def step(self, step, text_tokens, cache, memory, copies=1):
        """The states at one position of each row, as `call` gives them.

        Args:
            step: `kzoo.layers.step.Step`.
            text_tokens: float tensor `(rows, 1, width)`, at that position.
            cache: per block keys and values `(rows, S, width)` of the positions before.
            memory: as `memory` gives it, of `rows / copies` pictures.
            copies: rows per picture, beside each other.

        Returns:
            `(states, cache)`: `(rows, 1, width)`, and the cache with this position.
        """
        x, caches = text_tokens, []
        for block, cross_block, past, context in zip(self.blocks, self.cross_blocks, cache, memory, strict=True):
            x, past = block.step(x, past, step.at, step.seen)
            x = unfold(cross_block.read(fold(x, copies), context))
            caches.append(past)
        return self.final_norm(x), caches

    def logits(self, states):
        """Next-token logits, float32 `(..., vocab_size)`."""
        return ops.cast(self.head(states), "float32")

    def output_weights(self):
        """Kernel `(width, vocab_size)` of `logits`, and None for the bias that it has not."""
        return ops.convert_to_tensor(self.head.kernel), None
