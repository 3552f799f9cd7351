"""Tokens to one vector: by the end-of-text id, by average, by attention."""

import keras
from keras import ops

from kzoo.layers.configured import Configured
from kzoo.layers.numerics import activation_function, layer_norm
from kzoo.layers.transformer import Attention


def pool_end_of_text(tokens, token_ids, eot_id):
    """The token at the first position whose id is `eot_id`; a row without it gives zeros.

    A one-hot product: it never looks for the largest id (ids above the end of text exist in extended
    vocabularies) and exports with a dynamic batch, which a gather does not.

    Args:
        tokens: float tensor `(batch, length, width)`.
        token_ids: int tensor `(batch, length)`.
        eot_id: id of the end-of-text token.

    Returns:
        float tensor `(batch, width)`.
    """
    is_end = ops.cast(ops.equal(token_ids, eot_id), "float32")  # (batch, length)
    is_first_end = is_end * ops.cast(ops.equal(ops.cumsum(is_end, axis=1), 1.0), "float32")
    one_hot = ops.cast(ops.expand_dims(is_first_end, 1), tokens.dtype)  # (batch, 1, length)
    return ops.squeeze(ops.matmul(one_hot, tokens), axis=1)


@keras.saving.register_keras_serializable(package="kzoo")
class AttentionPooling(Configured, keras.layers.Layer):
    """Multi-head attention pooling (MAP): one learned query reads all tokens, then a residual MLP.

    Args:
        width: width of tokens and output.
        num_heads: attention heads.
        mlp_dim: hidden width of the MLP.
        activation: of the MLP.
        epsilon: of the layer norm.

    Inputs:
        float tensor `(batch, length, width)`.

    Returns:
        float tensor `(batch, width)`.

    Example:
        >>> AttentionPooling(width=64, num_heads=4, mlp_dim=256)(np.zeros((2, 9, 64))).shape
        (2, 64)

    Reference:
        Zhai et al., Scaling Vision Transformers, 2021, arXiv 2106.04560.
    """

    def __init__(self, width, num_heads, mlp_dim, activation="gelu_tanh", epsilon=1e-6, **kwargs):
        super().__init__(**kwargs)
        self.width = width

        # -- layers --
        self.attention = Attention(width, num_heads, dtype=self.dtype_policy, name="attention")
        self.norm = layer_norm(epsilon, "norm")
        self.mlp_up = keras.layers.Dense(mlp_dim, dtype=self.dtype_policy, name="mlp_up")
        self.mlp_down = keras.layers.Dense(width, dtype=self.dtype_policy, name="mlp_down")
        self.activation = activation_function(activation)

    def build(self, tokens_shape):
        self.probe = self.add_weight(
            name="probe",
            shape=(1, self.width),
            initializer=keras.initializers.RandomNormal(stddev=self.width**-0.5),
        )
        for layer in (self.attention, self.norm, self.mlp_up):
            layer.build(tokens_shape)
        self.mlp_down.build((*tokens_shape[:-1], self.mlp_up.units))

    # -- forward --
    def call(self, tokens):
        probe = ops.zeros_like(tokens[:, :1, :]) + self.probe  # (batch, 1, width)
        x = self.attention(probe, tokens)
        x = x + self.mlp_down(self.activation(self.mlp_up(self.norm(x))))
        return ops.squeeze(x, axis=1)
