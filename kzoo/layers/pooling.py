"""Tokens to one vector: by the end-of-text id, by average, by attention."""

import keras
from keras import ops

from kzoo.keras_contact import CalledDirectly
from kzoo.layers.attention import Attention
from kzoo.layers.configured import Configured
from kzoo.layers.initializers import Normal
from kzoo.layers.linear import dense
from kzoo.layers.numerics import NEGATIVE, activation_function, cast, layer_norm
from kzoo.types import Tensor


def pool_end_of_text(tokens, token_ids, eot_id) -> Tensor:
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
    return ops.squeeze(at_place(tokens, end_of_text(token_ids, eot_id)), axis=1)


def at_place(x, place) -> Tensor:
    """One position of each row of a tensor `(batch, length, width)`: `(batch, 1, width)`.

    Args:
        x: float tensor.
        place: an integer, or one of each row, as a one-hot tensor `(batch, 1, length)`: a product, which exports with a
            dynamic batch as a gather does not. A row of zeros gives zeros.
    """
    if not isinstance(place, int):
        return ops.matmul(cast(place, x.dtype), x)
    x = x[:, place:] if place == -1 else x[:, place : place + 1]
    # torch rounds another way where rows do not lie beside each other
    return x.contiguous() if keras.config.backend() == "torch" and ops.is_tensor(x) else x


def end_of_text(token_ids, eot_id) -> Tensor:
    """Where the first end of text is, float32 `(batch, 1, length)`, one-hot; zeros in a row without one.

    Args:
        token_ids: int tensor `(batch, length)`.
        eot_id: id of the end-of-text token.
    """
    is_end = ops.cast(ops.equal(token_ids, eot_id), "float32")  # (batch, length)
    is_first_end = is_end * ops.cast(ops.equal(ops.cumsum(is_end, axis=1), 1.0), "float32")
    return ops.expand_dims(is_first_end, 1)


def until_end_of_text(token_ids, eot_id) -> Tensor:
    """True up to the first position whose id is `eot_id`, which is among them; a row without it is True throughout.

    Args:
        token_ids: int tensor `(batch, length)`.
        eot_id: id of the end-of-text token.

    Returns:
        bool tensor `(batch, length)`.
    """
    is_end = ops.cast(ops.equal(token_ids, eot_id), "float32")
    return ops.equal(ops.cumsum(is_end, axis=1) - is_end, 0.0)


def pool_mean(tokens, padding_mask) -> Tensor:
    """The mean of the real tokens; a row without any gives zeros.

    Args:
        tokens: float tensor `(batch, length, width)`.
        padding_mask: bool tensor `(batch, length)`, True where a token is real.

    Returns:
        float32 tensor `(batch, width)`.
    """
    real = ops.expand_dims(ops.cast(padding_mask, "float32"), 1)  # (batch, 1, length)
    total = ops.squeeze(ops.matmul(real, ops.cast(tokens, "float32")), axis=1)
    return total / ops.maximum(ops.sum(real, axis=-1), 1.0)


def pool_max(tokens, padding_mask) -> Tensor:
    """The maximum of the real tokens, channel by channel; arguments and result as in `pool_mean`."""
    real = ops.expand_dims(ops.cast(padding_mask, "bool"), -1)  # (batch, length, 1)
    return ops.max(ops.where(real, ops.cast(tokens, "float32"), NEGATIVE), axis=1)


@keras.saving.register_keras_serializable(package="kzoo")
class AttentionPooling(CalledDirectly, Configured, keras.layers.Layer):
    """Multi-head attention pooling (MAP): one learned query reads all tokens, then a residual MLP.

    Args:
        width: width of tokens and output.
        num_heads: attention heads.
        mlp_dim: hidden width of the MLP.
        activation: of the MLP.
        epsilon: of the layer norm.

    Inputs:
        tokens: float tensor `(batch, length, width)`.
        padding_mask: bool tensor `(batch, length)`, True where a token is real, or None.

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
        policy = self.dtype_policy

        # -- layers --
        self.attention = Attention(width, num_heads, dtype=policy, name="attention")
        self.norm = layer_norm(epsilon, "norm")
        self.mlp_up = dense(mlp_dim, width**-0.5, policy, "mlp_up")
        self.mlp_down = dense(width, mlp_dim**-0.5, policy, "mlp_down")
        self.activation = activation_function(activation)

    def build(self, tokens_shape, padding_mask_shape=None) -> None:
        self.probe = self.add_weight(name="probe", shape=(1, self.width), initializer=Normal(stddev=self.width**-0.5))
        for layer in (self.attention, self.norm, self.mlp_up):
            layer.build(tokens_shape)
        self.mlp_down.build((*tokens_shape[:-1], self.mlp_up.units))

    # -- forward --
    def call(self, tokens, padding_mask=None) -> Tensor:
        probe = per_row(self.probe, tokens)  # (batch, 1, width)
        x = self.attention(probe, tokens, padding_mask=padding_mask)
        x = x + self.mlp_down(self.activation(self.mlp_up(self.norm(x))))
        return ops.squeeze(x, axis=1)


@keras.saving.register_keras_serializable(package="kzoo")
class ProbePooling(CalledDirectly, Configured, keras.layers.Layer):
    """One learned query reads all tokens, and what it mixed is the vector: `AttentionPooling` without what follows.

    Args:
        width: width of tokens and output.
        num_heads: attention heads.
        bias, head_norm, epsilon: of the `Attention`.

    Inputs:
        tokens: float tensor `(batch, length, width)`.
        padding_mask: bool tensor `(batch, length)`, True where a token is real, or None.

    Returns:
        float tensor `(batch, width)`.

    Example:
        >>> ProbePooling(width=64, num_heads=4)(np.zeros((2, 9, 64))).shape
        (2, 64)

    Reference:
        Lee et al., Set Transformer, 2018, arXiv 1810.00825.
    """

    arguments = Attention.arguments

    def __init__(self, width, num_heads, bias="all", head_norm=None, epsilon=1e-6, **kwargs):
        super().__init__(**kwargs)
        self.width = width
        options = {"bias": bias, "head_norm": head_norm, "epsilon": epsilon, "projected": False}
        self.attention = Attention(width, num_heads, **options, dtype=self.dtype_policy, name="attention")

    def build(self, tokens_shape, padding_mask_shape=None) -> None:
        self.probe = self.add_weight(name="probe", shape=(1, self.width), initializer=Normal(stddev=self.width**-0.5))
        self.attention.build(tokens_shape)

    # -- forward --
    def call(self, tokens, padding_mask=None) -> Tensor:
        probe = per_row(self.probe, tokens)  # (batch, 1, width)
        return ops.squeeze(self.attention(probe, tokens, padding_mask=padding_mask), axis=1)


@keras.saving.register_keras_serializable(package="kzoo")
class QueryPooling(CalledDirectly, Configured, keras.layers.Layer):
    """Learned queries read all tokens: the attentional pooler of CoCa.

    Args:
        width: width of queries and output.
        num_queries: number of queries.
        num_heads: attention heads; must divide `width`.
        epsilon: of the layer norms.

    Inputs:
        float tensor `(batch, length, any)`.

    Returns:
        float tensor `(batch, num_queries, width)`.

    Example:
        >>> QueryPooling(width=32, num_queries=9, num_heads=4)(np.zeros((2, 17, 48))).shape
        (2, 9, 32)

    Reference:
        Yu et al., CoCa, 2022, arXiv 2205.01917; Lee et al., Set Transformer, 2018, arXiv 1810.00825.
    """

    def __init__(self, width, num_queries, num_heads, epsilon=1e-5, **kwargs):
        super().__init__(**kwargs)
        self.width, self.num_queries = width, num_queries

        # -- layers --
        self.query_norm = layer_norm(epsilon, "query_norm")
        self.token_norm = layer_norm(epsilon, "token_norm")
        self.attention = Attention(width, num_heads, dtype=self.dtype_policy, name="attention")

    def build(self, tokens_shape) -> None:
        queries_shape = (None, self.num_queries, self.width)
        self.query = self.add_weight(name="query", shape=queries_shape[1:], initializer=Normal(stddev=1.0))
        self.query_norm.build(queries_shape)
        self.token_norm.build(tokens_shape)
        self.attention.build(queries_shape, tokens_shape)

    # -- forward --
    def call(self, tokens) -> Tensor:
        queries = per_row(self.query_norm(self.query), tokens)  # (batch, num_queries, width)
        return self.attention(queries, self.token_norm(tokens))


def per_row(weight, x) -> Tensor:
    """A weight `(length, width)` for each row of `x` `(batch, ...)`, without an operation that reads the batch size."""
    return 0.0 * x[:, :1, :1] + ops.cast(ops.convert_to_tensor(weight), x.dtype)
