"""The block of T5: distances in the scores, RMS norms, no biases."""

import keras
from keras import ops

from kzoo.arguments import FLAG
from kzoo.layers.attention import attend
from kzoo.layers.configured import Configured
from kzoo.layers.linear import dense
from kzoo.layers.numerics import activation_function, rms_norm
from kzoo.types import Tensor


@keras.saving.register_keras_serializable(package="kzoo")
class DistanceAttention(Configured, keras.layers.Layer):
    """Multi-head attention whose scores are not scaled, but get a number for each pair of positions.

    Args:
        width: width of the output.
        num_heads: number of heads.
        head_width: channels of a head.

    Inputs:
        x: float tensor `(batch, length, any)`.
        position_bias: float tensor `(1 or batch, heads, length, length)`, added to the scores.
        padding_mask: bool tensor `(batch, length)`, True where a key is real, or None.

    Returns:
        float tensor `(batch, length, width)`.

    Example:
        >>> DistanceAttention(width=48, num_heads=4, head_width=16)(np.zeros((2, 5, 48)), np.zeros((1, 4, 5, 5))).shape
        (2, 5, 48)

    Reference:
        Raffel et al., T5, 2019, arXiv 1910.10683.
    """

    def __init__(self, width, num_heads, head_width, **kwargs):
        super().__init__(**kwargs)
        self.width, self.num_heads, self.head_width = width, num_heads, head_width
        inner, policy = num_heads * head_width, self.dtype_policy

        # -- layers --
        self.query = dense(inner, (width * head_width) ** -0.5, policy, "query", use_bias=False)  # its scale is inside
        self.key = dense(inner, width**-0.5, policy, "key", use_bias=False)
        self.value = dense(inner, width**-0.5, policy, "value", use_bias=False)
        self.out = dense(width, inner**-0.5, policy, "out", use_bias=False)

    def build(self, x_shape, position_bias_shape=None, padding_mask_shape=None) -> None:
        for layer in (self.query, self.key, self.value):
            layer.build(x_shape)
        self.out.build((*x_shape[:-1], self.num_heads * self.head_width))

    # -- forward --
    def call(self, x, position_bias, padding_mask=None) -> Tensor:
        query, key, value = (self._split_heads(layer(x)) for layer in (self.query, self.key, self.value))
        query = query * self.head_width**0.5  # which `attend` divides by
        mixed = attend(query, key, value, padding_mask=padding_mask, position_bias=position_bias)
        return self.out(ops.reshape(mixed, (-1, x.shape[1], self.num_heads * self.head_width)))

    def _split_heads(self, x):
        return ops.reshape(x, (-1, x.shape[1], self.num_heads, self.head_width))


@keras.saving.register_keras_serializable(package="kzoo")
class T5Block(Configured, keras.layers.Layer):
    """`x + attention(norm(x))`, then `x + mlp(norm(x))`, whose stream is float32 under every dtype policy.

    Args:
        width: width of the residual stream.
        num_heads: attention heads.
        head_width: channels of a head.
        mlp_dim: hidden width of the MLP.
        activation: of the MLP.
        gated: multiply by a linear layer before the last one.
        dropout: rate on both branches while training.
        epsilon: of both norms.

    Inputs:
        x: float tensor `(batch, length, width)`.
        position_bias: float tensor `(1 or batch, heads, length, length)`, added to the scores.
        padding_mask: bool tensor `(batch, length)`, True where a position is real, or None.

    Returns:
        float32 tensor `(batch, length, width)`.

    Example:
        >>> T5Block(48, num_heads=4, head_width=16, mlp_dim=96)(np.zeros((2, 5, 48)), np.zeros((1, 4, 5, 5))).shape
        (2, 5, 48)

    Reference:
        Raffel et al., T5, 2019, arXiv 1910.10683; the gate: Shazeer, 2020, arXiv 2002.05202.
    """

    arguments = {"gated": FLAG}

    def __init__(
        self,
        width,
        num_heads,
        head_width,
        mlp_dim,
        activation="gelu_tanh",
        gated=True,
        dropout=0.0,
        epsilon=1e-6,
        **kwargs,
    ):
        super().__init__(autocast=False, **kwargs)
        policy = self.dtype_policy

        # -- layers --
        self.norm_1 = rms_norm(epsilon, "norm_1")
        self.attention = DistanceAttention(width, num_heads, head_width, dtype=policy, name="attention")
        self.norm_2 = rms_norm(epsilon, "norm_2")
        self.mlp_gate = dense(mlp_dim, width**-0.5, policy, "mlp_gate", use_bias=False) if gated else None
        self.mlp_up = dense(mlp_dim, width**-0.5, policy, "mlp_up", use_bias=False)
        # what released weights give here is larger than float16
        self.mlp_down = dense(width, mlp_dim**-0.5, "float32", "mlp_down", use_bias=False)
        self.dropout = keras.layers.Dropout(dropout, dtype="float32", name="dropout") if dropout else None
        self.activation = activation_function(activation)

    def build(self, x_shape, position_bias_shape=None, padding_mask_shape=None) -> None:
        for layer in (self.norm_1, self.attention, self.norm_2, self.mlp_gate, self.mlp_up, self.dropout):
            if layer is not None:
                layer.build(x_shape)
        self.mlp_down.build((*x_shape[:-1], self.mlp_up.units))

    # -- forward --
    def call(self, x, position_bias, padding_mask=None, training=None) -> Tensor:
        x = ops.cast(x, "float32")
        x = self._added(x, self.attention(self.norm_1(x), position_bias, padding_mask=padding_mask), training)
        return self._added(x, self.feed_forward(self.norm_2(x)), training)

    def feed_forward(self, x) -> Tensor:
        """The MLP of `x`, which was normed before: what is added to the stream."""
        if self.mlp_gate is None:
            hidden = self.activation(self.mlp_up(x))
        else:
            hidden = self.activation(self.mlp_gate(x)) * self.mlp_up(x)  # (batch, length, mlp_dim)
        return self.mlp_down(hidden)

    def _added(self, x, branch, training):
        branch = ops.cast(branch, "float32")
        return x + (branch if self.dropout is None else self.dropout(branch, training=training))
