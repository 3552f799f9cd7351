"""Texts of classes that look at a picture: the context decoder of DenseCLIP."""

import keras
from keras import ops

from kzoo.layers.attention import Attention
from kzoo.layers.initializers import Normal
from kzoo.layers.numerics import gelu, layer_norm
from kzoo.types import Tensor

STDDEV = 0.02


def _linear(units, name):
    return keras.layers.Dense(units, kernel_initializer=Normal(stddev=STDDEV), dtype="float32", name=name)


class ContextBlock(keras.layers.Layer):
    """Classes look at each other, then at the picture, then go through an MLP; each behind a norm.

    Args:
        width: of the stream.
        num_heads: of both attentions.
        dropout: rate in the MLP, while training.
    """

    def __init__(self, width, num_heads, dropout, **kwargs):
        super().__init__(dtype="float32", **kwargs)
        self.width = width
        self.norm_1, self.norm_2, self.norm_3 = (layer_norm(1e-5, f"norm_{number}") for number in (1, 2, 3))
        self.attention = Attention(width, num_heads, dtype="float32", name="attention")
        self.cross_attention = Attention(width, num_heads, dtype="float32", name="cross_attention")
        self.mlp_up, self.mlp_down = _linear(4 * width, "mlp_up"), _linear(width, "mlp_down")
        self.dropout = keras.layers.Dropout(dropout, dtype="float32", name="dropout")

    def build(self, x_shape, memory_shape) -> None:
        for layer in (self.norm_1, self.norm_2, self.norm_3, self.attention, self.mlp_up):
            layer.build(x_shape)
        self.cross_attention.build(x_shape, memory_shape)
        self.mlp_down.build((*x_shape[:-1], 4 * self.width))

    def call(self, x, memory, training=None) -> Tensor:
        x = x + self.attention(self.norm_1(x))
        x = x + self.cross_attention(self.norm_2(x), memory)
        hidden = self.dropout(gelu(self.mlp_up(self.norm_3(x))), training=training)
        return x + self.dropout(self.mlp_down(hidden), training=training)


class ContextDecoder(keras.layers.Layer):
    """What the texts of classes are moved by, of a picture: `depth` blocks in a width of their own.

    Args:
        embed_dim: of texts and picture.
        depth: blocks.
        width: of the stream.
        num_heads: of the attentions.
        dropout: rate in the MLPs, while training.

    Inputs:
        texts: float tensor `(batch, classes, embed_dim)`.
        memory: float tensor `(batch, places, embed_dim)`, of the picture.

    Returns:
        float tensor `(batch, classes, embed_dim)`.
    """

    def __init__(self, embed_dim, depth, width, num_heads, dropout=0.1, **kwargs):
        super().__init__(dtype="float32", **kwargs)
        self.embed_dim, self.width = embed_dim, width
        names = ("memory_norm", "memory_out_norm", "text_norm", "out_norm")
        self.memory_norm, self.memory_out_norm, self.text_norm, self.out_norm = (layer_norm(1e-5, n) for n in names)
        self.memory_in, self.text_in = _linear(width, "memory_in"), _linear(width, "text_in")
        self.blocks = [ContextBlock(width, num_heads, dropout, name=f"block_{number}") for number in range(depth)]
        self.out = _linear(embed_dim, "out")
        self.build()

    def build(self) -> None:
        given, own = (None, None, self.embed_dim), (None, None, self.width)
        for layer in (self.memory_norm, self.text_norm, self.memory_in, self.text_in):
            layer.build(given)
        for block in self.blocks:
            block.build(own, own)
        for layer in (self.memory_out_norm, self.out_norm, self.out):
            layer.build(own)

    def call(self, texts, memory, training=None) -> Tensor:
        memory = self.memory_out_norm(self.memory_in(self.memory_norm(ops.cast(memory, "float32"))))
        x = self.text_in(self.text_norm(texts))
        for block in self.blocks:
            x = block(x, memory, training=training)
        return self.out(self.out_norm(x))
