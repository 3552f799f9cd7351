"""The head of a tower: features to the shared space."""

import keras

from kzoo.layers.attention import dense
from kzoo.layers.configured import Configured
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

    Inputs:
        float tensor `(batch, ..., width)`.

    Returns:
        float tensor `(batch, ..., embed_dim)`.

    Example:
        >>> Projection(embed_dim=16, hidden_dim=32, activation="relu", bias=True)(np.zeros((2, 64))).shape
        (2, 16)
    """

    def __init__(self, embed_dim, hidden_dim=None, activation="gelu", bias=False, **kwargs):
        super().__init__(**kwargs)
        self.embed_dim, self.hidden_dim, self.bias = embed_dim, hidden_dim, bias
        self.activation = activation_function(activation)

    def build(self, x_shape) -> None:
        width, policy = x_shape[-1], self.dtype_policy
        self.hidden = None
        if self.hidden_dim is not None:
            self.hidden = dense(self.hidden_dim, width**-0.5, policy, "hidden", self.bias)
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
