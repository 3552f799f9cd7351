"""The head of a tower: features to the shared space."""

from typing import Any

import keras

from kzoo.arguments import FLAG
from kzoo.layers.configured import Configured
from kzoo.layers.linear import dense
from kzoo.layers.numerics import activation_function
from kzoo.types import Tensor


@keras.saving.register_keras_serializable(package="kzoo")
class Projection(Configured, keras.layers.Layer):
    """One linear layer, or two with an activation between them.

    Args:
        embed_dim: width of the output.
        hidden_dim: width between two layers; None for one layer.
        activation: between two layers.
        bias: of each layer.
        hidden_bias: of the first of two layers; default as `bias`.

    Inputs:
        float tensor `(batch, ..., width)`.

    Returns:
        float tensor `(batch, ..., embed_dim)`.

    Example:
        >>> Projection(embed_dim=16, hidden_dim=32, activation="relu", bias=True)(np.zeros((2, 64))).shape
        (2, 16)
    """

    arguments = {"hidden_bias": FLAG}

    def __init__(self, embed_dim, hidden_dim=None, activation="gelu", bias=False, hidden_bias=None, **kwargs):
        super().__init__(**kwargs)
        self.embed_dim, self.hidden_dim, self.bias = embed_dim, hidden_dim, bias
        self.hidden_bias = bias if hidden_bias is None else hidden_bias
        self.activation = activation_function(activation)

    def build(self, x_shape) -> None:
        width, policy = x_shape[-1], self.dtype_policy
        self.hidden = None
        if self.hidden_dim is not None:
            self.hidden = dense(self.hidden_dim, width**-0.5, policy, "hidden", self.hidden_bias)
            self.hidden.build(x_shape)
            width = self.hidden_dim
        self.final = dense(self.embed_dim, width**-0.5, policy, "final", self.bias)
        self.final.build((None, width))

    def compute_output_shape(self, x_shape) -> tuple:
        return (*x_shape[:-1], self.embed_dim)

    # -- forward --
    def call(self, x) -> Tensor:
        if self.hidden is not None:
            x = self.activation(self.hidden(x))
        return self.final(x)


def tower_projection(embed_dim, hidden_dim, width, bias, policy) -> Any:
    """The head of a tower of timm, as open_clip puts it on.

    Args:
        embed_dim: width of the output; None for no head.
        hidden_dim: width between two layers, of which the first has a bias and an exact GELU after it; None for one.
        width: of the input.
        bias: of the last layer.
        policy: dtype policy.

    Returns:
        A `Dense` layer, a `Projection`, or None.
    """
    if embed_dim is None:
        return None
    if hidden_dim is None:
        return dense(embed_dim, width**-0.5, policy, "projection", bias)
    return Projection(embed_dim, hidden_dim, "gelu", bias, hidden_bias=True, dtype=policy, name="projection")
