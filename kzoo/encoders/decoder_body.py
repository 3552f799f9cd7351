"""What the pre-norm decoders share: causal blocks and cross-attention blocks in turn."""

import keras

from kzoo.encoders.decoder_output import DecoderOutput
from kzoo.layers.configured import Configured
from kzoo.layers.numerics import layer_norm
from kzoo.layers.step import fold, unfold
from kzoo.layers.transformer import transformer_blocks

OPTIONS = ("width", "num_heads", "activation", "layer_scale", "dropout", "epsilon")  # of the blocks


class DecoderBody(DecoderOutput, Configured, keras.layers.Layer):
    """Pairs of blocks and a final norm; the base of `MultimodalDecoder` and `TextDecoder`.

    A subclass's constructor takes the arguments in `OPTIONS`, `vocab_size`, `depth` and `mlp_dim`, and calls
    `_make_body()`; its `build` calls `_build_body()`.
    """

    def _make_body(self):
        given = self._arguments  # of the constructor
        self.vocab_size, self.width = given["vocab_size"], given["width"]
        options = {name: given[name] for name in OPTIONS} | {"mlp_dim": given["mlp_dim"] or 4 * self.width}

        # -- layers --
        self.blocks = transformer_blocks(given["depth"], self.dtype_policy, causal=True, **options)
        self.cross_blocks = transformer_blocks(given["depth"], self.dtype_policy, cross=True, **options)
        self.final_norm = layer_norm(given["epsilon"], "final_norm")

    def _build_body(self, context_width):
        shape = (None, None, self.width)
        for layer in (*self.blocks, self.final_norm):
            layer.build(shape)
        for block in self.cross_blocks:
            block.build(shape, (None, None, context_width))

    # -- forward --
    def _states(self, x, context, padding_mask, training):
        """`(batch, length, width)` of what is read, to the states at each position, with a context to attend to."""
        for block, cross_block in zip(self.blocks, self.cross_blocks):
            x = block(x, padding_mask=padding_mask, training=training)
            x = cross_block(x, context=context, training=training)
        return self.final_norm(x)

    def memory(self, image_tokens) -> list:
        """What `step` needs of the image tokens: per cross block keys and values, `(batch, heads, S, d)` each."""
        return [block.memory(image_tokens) for block in self.cross_blocks]

    def _stepped(self, step, x, cache, memory, copies):
        """`_states` at one position of each row, and the cache with it; `x` is `(rows, 1, width)`."""
        caches = []
        for block, cross_block, past, context in zip(self.blocks, self.cross_blocks, cache, memory, strict=True):
            x, past = block.step(x, past, step.at, step.seen)
            x = unfold(cross_block.read(fold(x, copies), context))
            caches.append(past)
        return self.final_norm(x), caches
