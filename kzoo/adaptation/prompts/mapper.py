"""What prompts of one tower make of those of the other: a proxy of each block's, and a mapper of all of them."""

import math

import keras
from keras import ops

from kzoo.layers.attention import Attention
from kzoo.layers.initializers import Normal
from kzoo.layers.numerics import layer_norm, quick_gelu
from kzoo.types import Tensor

HEADS = 8  # of all attention here, where they divide the width


def cross_attention(width, name) -> Attention:
    """Attention of some vectors to others of the same width."""
    return Attention(width, math.gcd(HEADS, width), dtype="float32", name=name)


class Proxy(keras.layers.Layer):
    """One vector for the prompts of a block: `norm_2(q + attention(norm_1(q), norm_1(P)))`, with a learned q.

    Args:
        width: of the prompts.
    """

    def __init__(self, width, **kwargs):
        super().__init__(dtype="float32", **kwargs)
        self.width = width
        self.norm_1, self.norm_2 = (layer_norm(1e-5, name) for name in ("norm_1", "norm_2"))
        self.attention = cross_attention(width, "attention")
        self.build()

    def build(self) -> None:
        self.query = self.add_weight(name="query", shape=(1, self.width), initializer=Normal(stddev=1.0))
        for layer in (self.norm_1, self.attention, self.norm_2):
            layer.build((None, None, self.width))

    def call(self, prompts) -> Tensor:
        """`(1, width)` of `(n_ctx, width)`."""
        query = ops.convert_to_tensor(self.query)
        return self.norm_2(query + self.attention(self.norm_1(query)[None], self.norm_1(prompts)[None])[0])


class Mapper(keras.layers.Layer):
    """Prompts of one tower, moved by proxies of the other: cross-attention and an MLP, behind linear layers.

    Args:
        width: of the prompts.
        proxy_width: of the proxies.
    """

    def __init__(self, width, proxy_width, **kwargs):
        super().__init__(dtype="float32", **kwargs)
        self.width, self.proxy_width = width, proxy_width
        widths = {"query": width, "key": width, "value": width, "mlp_up": 4 * width, "mlp_down": width}
        self.query, self.key, self.value, self.mlp_up, self.mlp_down = (
            keras.layers.Dense(units, dtype="float32", name=name) for name, units in widths.items()
        )
        self.norm_1, self.norm_2 = (layer_norm(1e-5, name) for name in ("norm_1", "norm_2"))
        self.attention = cross_attention(width, "attention")
        self.build()

    def build(self) -> None:
        for layer in (self.query, self.mlp_up, self.norm_1, self.norm_2, self.attention):
            layer.build((None, None, self.width))
        for layer in (self.key, self.value):
            layer.build((None, self.proxy_width))
        self.mlp_down.build((None, 4 * self.width))

    def call(self, prompts, proxies) -> Tensor:
        """`(blocks, n_ctx, width)` of such prompts and of proxies `(blocks, proxy_width)`."""
        x = self.query(ops.reshape(prompts, (-1, prompts.shape[-1])))  # (blocks * n_ctx, width)
        keys, values = (self.norm_1(each(proxies))[None] for each in (self.key, self.value))  # (1, blocks, width)
        attention = self.attention
        memory = attention.memory_of(attention.key(keys), attention.value(values))
        x = x + attention.read(self.norm_1(x)[None], memory)[0]
        x = x + self.mlp_down(quick_gelu(self.mlp_up(self.norm_2(x))))
        return ops.reshape(x, prompts.shape)
