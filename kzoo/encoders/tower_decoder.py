"""MaMMUT's captioning decoder: the blocks of the text tower once more, causal now, with cross-attention between."""

from typing import Any

import keras

from kzoo.arguments import COUNT
from kzoo.encoders.decoder_output import DecoderOutput
from kzoo.encoders.token_ids import check_token_ids
from kzoo.keras_contact import untracked
from kzoo.layers.changed import plain_kernel
from kzoo.layers.configured import Configured
from kzoo.layers.linear import dense
from kzoo.layers.numerics import embed
from kzoo.layers.step import fold, unfold
from kzoo.layers.transformer import transformer_blocks


@keras.saving.register_keras_serializable(package="kzoo")
class TowerDecoder(DecoderOutput, Configured, keras.layers.Layer):
    """Token ids and image tokens in, next-token logits out, through the tables, blocks and last norm of a text tower.

    One stack of blocks is run twice: by the text tower for an embedding, without a picture, and by this decoder for a
    caption, where no position sees a later one and a block with cross-attention stands behind some of them. Those, a
    projection of the image tokens and the last layer are the decoder's own; the rest is lent by `borrow`, which a
    `Captioner` calls, and stays the tower's.

    Args:
        vocab_size: columns of the output.
        width: channels of the text tower.
        depth: blocks of the text tower.
        num_heads: attention heads of the blocks with cross-attention.
        context_width: channels of the image tokens.
        cross_every: a block with cross-attention follows the first of so many blocks of the tower.
        mlp_dim: hidden width of the MLPs; default `4 * width`.
        activation: of the MLPs.
        layer_scale: initial gain of the block branches, or None.
        dropout: rate in the blocks while training.
        epsilon: of the layer norms.

    Inputs:
        token_ids: int tensor `(batch, length)`.
        image_tokens: float tensor `(batch, S, context_width)`.
        padding_mask: not read: padding stands at the end, where no real token sees it.

    Returns:
        float32 tensor `(batch, length, width)` of states, which `logits` turns into `(batch, length, vocab_size)`.

    Raises:
        ValueError: `cross_every` does not divide `depth`; a text tower of another size; ids longer than its context.

    Example:
        >>> tower = kzoo.encoders.TextTransformer(512, 16, 32, 4, 4, causal=False, pool="average")
        >>> decoder = TowerDecoder(512, width=32, depth=4, num_heads=4, context_width=48, cross_every=2)
        >>> decoder.borrow(tower)
        >>> decoder.logits(decoder(np.array([[1, 7, 9]]), np.zeros((1, 17, 48)))).shape
        (1, 3, 512)

    Reference:
        Kuo et al., MaMMUT, 2023, arXiv 2303.16839.
    """

    kind, title = "tower_decoder", "decoder of the text tower's blocks"
    reads_text_tokens = False  # its inputs are token ids
    borrows = True
    tower = None  # the text tower that lends its blocks
    arguments = {"cross_every": COUNT}

    def __init__(
        self,
        vocab_size,
        width,
        depth,
        num_heads,
        context_width,
        cross_every=1,
        mlp_dim=None,
        activation="gelu",
        layer_scale=None,
        dropout=0.0,
        epsilon=1e-5,
        **kwargs,
    ):
        super().__init__(**kwargs)
        if depth % cross_every:
            raise ValueError(f"cross_every={cross_every} does not divide depth={depth}; choose a divisor.")
        self.vocab_size, self.width, self.depth = vocab_size, width, depth
        self.context_width, self.cross_every = context_width, cross_every

        # -- layers --
        self.context_projection = dense(
            width, context_width**-0.5, self.dtype_policy, "context_projection", use_bias=False
        )
        self.cross_blocks = transformer_blocks(
            depth // cross_every,
            self.dtype_policy,
            cross=True,
            width=width,
            num_heads=num_heads,
            mlp_dim=mlp_dim or 4 * width,
            activation=activation,
            layer_scale=layer_scale,
            dropout=dropout,
            epsilon=epsilon,
        )
        self.head = dense(vocab_size, width**-0.5, self.dtype_policy, "head", use_bias=False)
        self.build((None, None))

    def build(self, token_ids_shape, image_tokens_shape=None, padding_mask_shape=None) -> None:
        shape = (None, None, self.width)
        self.context_projection.build((None, None, self.context_width))
        for block in self.cross_blocks:
            block.build(shape, shape)
        self.head.build(shape)

    def borrow(self, tower) -> None:
        """Read ids by the tables, blocks and last norm of a text tower, which stay its own.

        Args:
            tower: a `TextTransformer` without an appended token.

        Raises:
            TypeError: another tower.
            ValueError: one of another width or depth.
        """
        if tower.kind != "text_transformer" or tower.position_tail:
            raise TypeError(
                f"{self.name} writes captions with the blocks of a TextTransformer without an appended token, but the "
                f"text tower is a {type(tower).__name__}{' with one' if tower.position_tail else ''}."
            )
        sizes = {"width": tower.width, "depth": tower.num_blocks}
        for name, theirs in sizes.items():
            if theirs != getattr(self, name):
                raise ValueError(
                    f"{self.name} has {name}={getattr(self, name)}, but the text tower whose blocks it runs {theirs}."
                )
        untracked(self, "tower", tower)

    # what stands for a whole decoder, of the tower
    context_length = property(lambda self: self._lender().context_length)
    pad_id = property(lambda self: self._lender().pad_id)
    blocks = property(lambda self: self._lender().blocks)

    memory_blocks = property(lambda self: len(self.cross_blocks))

    def _lender(self) -> Any:
        if self.tower is None:
            raise ValueError(f"{self.name} has no text tower yet; call borrow(tower), as a Captioner does.")
        return self.tower

    # -- forward --
    def call(self, token_ids, image_tokens, padding_mask=None, training=None) -> dict:
        tower = self._lender()
        length = check_token_ids(token_ids.shape, tower.context_length)
        context = self.context_projection(image_tokens)  # (batch, S, width)
        x = embed(tower.token_embedding, token_ids) + tower.position_embedding[:length]
        for number, block in enumerate(tower.blocks):
            x = block(x, training=training, causal=True)
            if number % self.cross_every == 0:
                x = self._cross(number)(x, context=context, training=training)
        return tower.final_norm(x)  # (batch, length, width)

    def _cross(self, number):
        return self.cross_blocks[number // self.cross_every]

    def memory(self, image_tokens) -> list:
        """What `step` needs of the image tokens: per cross block keys and values, `(batch, heads, S, d)` each."""
        context = self.context_projection(image_tokens)
        return [block.memory(context) for block in self.cross_blocks]

    def step(self, step, token_ids, cache, memory, copies=1) -> tuple:
        """The states at one position of each row; arguments and result as in `MultimodalDecoder.step`."""
        tower = self._lender()
        x, caches = embed(tower.token_embedding, token_ids) + step.rows_of(tower.position_embedding), []
        for number, (block, past) in enumerate(zip(tower.blocks, cache, strict=True)):
            x, past = block.step(x, past, step.at, step.seen)
            caches.append(past)
            if number % self.cross_every == 0:
                context = memory[number // self.cross_every]
                x = unfold(self._cross(number).read(fold(x, copies), context))
        return tower.final_norm(x), caches

    def output_weights(self) -> tuple:
        """Kernel `(width, vocab_size)` of `logits`, and None for the bias that it has not."""
        return plain_kernel(self.head), None
