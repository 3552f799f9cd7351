"""Several projections of one embedding, and what their temperatures are made of (AMCL)."""

import keras
from keras import ops

from kzoo.layers.configured import Configured
from kzoo.layers.numerics import l2_normalize
from kzoo.layers.projector import Projector
from kzoo.types import Tensor


@keras.saving.register_keras_serializable(package="kzoo")
class MultiHeadProjector(Configured, keras.layers.Layer):
    """Projectors side by side, each with its own notion of what is similar.

    Args:
        num_heads: how many.
        sizes: width of each layer of one, as in `Projector`.
        activation, batch_norm: as in `Projector`.

    Inputs:
        float tensor `(batch, width)`.

    Returns:
        float tensor `(batch, num_heads, sizes[-1])`.

    Raises:
        ValueError: no head, no sizes.

    Example:
        >>> head = Head(MultiHeadProjector(3, (512, 128)), reads="*_features", gives="*_heads")
        >>> loss = AdaptiveMultiHead(bounds=(1e-5, 2.0), inputs=("image_heads", "text_heads"))

    Reference:
        Wang et al., Adaptive Multi-head Contrastive Learning, 2023, arXiv 2310.05615.
    """

    def __init__(self, num_heads, sizes, activation="relu", batch_norm=False, **kwargs):
        super().__init__(**kwargs)
        options = {"activation": activation, "batch_norm": batch_norm, "dtype": self.dtype_policy}

        # -- layers --
        self.projectors = [Projector(sizes, **options, name=f"projector_{number}") for number in range(num_heads)]

    def build(self, x_shape) -> None:
        for projector in self.projectors:
            projector.build(x_shape)

    def compute_output_shape(self, x_shape) -> tuple:
        return (*x_shape[:-1], len(self.projectors), self.projectors[0].sizes[-1])

    # -- forward --
    def call(self, x, training=None) -> Tensor:
        return ops.stack([projector(x, training=training) for projector in self.projectors], axis=-2)


@keras.saving.register_keras_serializable(package="kzoo")
class TemperatureFactors(Configured, keras.layers.Layer):
    """The share that each row has in the temperatures of its pairs, for each head.

    An MLP of each head makes a vector `phi(z)` of its projection `z`. The temperature of a pair is a function of
    `<phi(a_i), phi(b_j)>`, which `AdaptiveMultiHead(bounds=...)` makes of the factors: no matrix over the pairs of a
    batch leaves the loss.

    Args:
        dim: length of the factors.
        hidden_dim: width of the MLP.

    Inputs:
        float tensor `(batch, heads, width)`, of any length: rows are normalised.

    Returns:
        float tensor `(batch, heads, dim)`.

    Example:
        >>> head = Head(TemperatureFactors(16), reads="*_heads", gives="*_temperature_factors")

    Reference:
        Wang et al., Adaptive Multi-head Contrastive Learning, 2023, arXiv 2310.05615. That the network sees the two
        rows apart, and their product after it, is our choice.
    """

    def __init__(self, dim=16, hidden_dim=128, **kwargs):
        super().__init__(**kwargs)
        self.dim, self.hidden_dim = dim, hidden_dim

    def build(self, z_shape) -> None:
        sizes, policy = (self.hidden_dim, self.dim), self.dtype_policy
        self.networks = [
            Projector(sizes, batch_norm=False, dtype=policy, name=f"network_{number}") for number in range(z_shape[-2])
        ]
        for network in self.networks:
            network.build((None, z_shape[-1]))

    def compute_output_shape(self, z_shape) -> tuple:
        return (*z_shape[:-1], self.dim)

    # -- forward --
    def call(self, z) -> Tensor:
        z = l2_normalize(z)
        return ops.stack([network(z[..., number, :]) for number, network in enumerate(self.networks)], axis=-2)
