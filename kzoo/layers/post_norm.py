"""The post-norm block of BERT."""

import keras
from keras import ops

from kzoo.layers.attention import Attention
from kzoo.layers.configured import Configured
from kzoo.layers.linear import dense
from kzoo.layers.numerics import activation_function, layer_norm
from kzoo.layers.step import fold, unfold
from kzoo.types import Tensor


@keras.saving.register_keras_serializable(package="kzoo")
class PostNormBlock(Configured, keras.layers.Layer):
    """`norm(x + attention(x))`, with `cross` also `norm(x + attention(x, context))`, then `norm(x + mlp(x))`.

    Args:
        width: width of the residual stream.
        num_heads: attention heads.
        mlp_dim: hidden width of the MLP.
        activation: of the MLP.
        causal: mask the future in the self-attention.
        cross_width: width of the context, for blocks with a cross-attention; None for those without.
        dropout: rate on every branch while training.
        epsilon: of the layer norms.

    Inputs:
        x: float tensor `(batch, length, width)`.
        context: float tensor `(batch, S, cross_width)`; without one the cross-attention is passed over.
        padding_mask: bool tensor `(batch, length)`, True where a position is real, or None.

    Returns:
        float tensor `(batch, length, width)`.

    Example:
        >>> PostNormBlock(width=64, num_heads=4, mlp_dim=256)(np.zeros((2, 5, 64))).shape
        (2, 5, 64)

    Reference:
        Devlin et al., BERT, 2018, arXiv 1810.04805; the cross-attention: Li et al., BLIP, 2022, arXiv 2201.12086.
    """

    def __init__(
        self,
        width,
        num_heads,
        mlp_dim,
        activation="gelu",
        causal=False,
        cross_width=None,
        dropout=0.0,
        epsilon=1e-12,
        **kwargs,
    ):
        super().__init__(**kwargs)
        policy = self.dtype_policy
        self.cross_width = cross_width

        # -- layers --
        self.attention = Attention(width, num_heads, causal, dtype=policy, name="attention")
        self.attention_norm = layer_norm(epsilon, "attention_norm")
        self.cross_attention = self.cross_norm = None
        if cross_width is not None:
            self.cross_attention = Attention(width, num_heads, dtype=policy, name="cross_attention")
            self.cross_norm = layer_norm(epsilon, "cross_norm")
        self.mlp_up = dense(mlp_dim, width**-0.5, policy, "mlp_up")
        self.mlp_down = dense(width, mlp_dim**-0.5, policy, "mlp_down")
        self.mlp_norm = layer_norm(epsilon, "mlp_norm")
        self.dropout = keras.layers.Dropout(dropout, dtype=policy, name="dropout") if dropout else None
        self.activation = activation_function(activation)

    def build(self, x_shape, context_shape=None, padding_mask_shape=None) -> None:
        for layer in (self.attention, self.attention_norm, self.cross_norm, self.mlp_up, self.mlp_norm):
            if layer is not None:
                layer.build(x_shape)
        self.mlp_down.build((*x_shape[:-1], self.mlp_up.units))
        if self.cross_attention is not None:
            self.cross_attention.build(x_shape, (None, None, self.cross_width))
        if self.dropout is not None:
            self.dropout.build(x_shape)

    # -- forward --
    def call(self, x, context=None, padding_mask=None, training=None) -> Tensor:
        x = self.attention_norm(self._added(x, self.attention(x, padding_mask=padding_mask), training))
        if self.cross_attention is not None and context is not None:
            x = self.cross_norm(self._added(x, self.cross_attention(x, context), training))
        return self._fed_forward(x, training)

    def memory(self, context) -> tuple:
        """What `step` needs of a context, the same for every step."""
        return self.cross_attention.keys_values(context)

    def step(self, x, cache, at, visible, memory, copies) -> tuple:
        """The causal block with its cross-attention at one position of each row.

        Arguments and result as in `Attention.step`; `memory` and `copies` as in `kzoo.layers.step.fold`.
        """
        mixed, cache = self.attention.step(x, cache, at, visible)
        x = fold(self.attention_norm(self._added(x, mixed)), copies)
        x = self.cross_norm(self._added(x, self.cross_attention.read(x, memory)))
        return unfold(self._fed_forward(x)), cache

    def _fed_forward(self, x, training=None):
        return self.mlp_norm(self._added(x, self.feed_forward(x), training))

    def feed_forward(self, x) -> Tensor:
        """The MLP of `x`: what is added to the stream."""
        return self.mlp_down(self.activation(self.mlp_up(x)))

    def _added(self, x, branch, training=None):
        if self.dropout is not None:
            branch = self.dropout(branch, training=training)
        return ops.add(x, branch)  # not `+`: norms are float32, branches may be half precision
