"""Positives that are made of features, not of pictures."""

import keras
from keras import ops

from kzoo.layers.configured import Configured
from kzoo.layers.projector import Projector
from kzoo.types import Tensor


@keras.saving.register_keras_serializable(package="kzoo")
class Hallucinator(Configured, keras.layers.Layer):
    """One more positive for each row: away from the other view, then through an MLP.

    `y = MLP(x + s (x - sg(other)))` with `s ~ U(0, strength)` for each row while training, and its mean otherwise. What
    the two views share is extrapolated, so that less of it is left, and the MLP bends it. Whatever compares `x` with
    `other` compares `y` with it too.

    Args:
        hidden_dim: width within the MLP; default that of `x`.
        strength: the largest `s`.
        seed: of what is drawn; default a new one.

    Inputs:
        x, other: float tensors `(batch, width)`, features of two views; no gradient goes to `other`.

    Returns:
        float tensor `(batch, width)`.

    Raises:
        ValueError: a negative strength.

    Recommendations:
        Where augmentations are few or weak. `GeodesicMixup` and `MoCHi` make harder negatives instead.

    Example:
        >>> head = Head(Hallucinator(), reads=("view_1_features", "view_2_features"), gives="hallucinated")
        >>> loss = NTXent() + NTXent(inputs=("hallucinated", "view_2_features"))

    Reference:
        Wu et al., Hallucination Improves the Performance of Unsupervised Visual Representation Learning, 2023, arXiv
        2307.12168. From memory of the paper: how `s` is drawn is our choice.
    """

    def __init__(self, hidden_dim=None, strength=1.0, seed=None, **kwargs):
        super().__init__(**kwargs)
        self.hidden_dim, self.strength = hidden_dim, strength
        self.seed_generator = keras.random.SeedGenerator(seed)

    def build(self, x_shape, other_shape) -> None:
        sizes = (self.hidden_dim or x_shape[-1], x_shape[-1])
        self.mlp = Projector(sizes, batch_norm=False, dtype=self.dtype_policy, name="mlp")
        self.mlp.build(x_shape)

    def compute_output_shape(self, x_shape, other_shape) -> tuple:
        return tuple(x_shape)

    # -- forward --
    def call(self, x, other, training=None) -> Tensor:
        strength = 0.5 * self.strength
        if training:
            shape = (ops.shape(x)[0], 1)
            strength = keras.random.uniform(shape, 0.0, self.strength, dtype=x.dtype, seed=self.seed_generator)
        return self.mlp(x + strength * (x - ops.stop_gradient(other)))


@keras.saving.register_keras_serializable(package="kzoo")
class FeatureAugmenter(Configured, keras.layers.Layer):
    """A learned augmentation of features: `x + MLP(x)`.

    It is trained by the contrast itself, so give the loss something that keeps it from copying `x`: dropout, or a
    second augmenter that both are told apart from.

    Args:
        hidden_dim: width within the MLP; default that of `x`.
        dropout: rate within the MLP while training.

    Inputs:
        float tensor `(batch, ..., width)`.

    Returns:
        float tensor `(batch, ..., width)`.

    Example:
        >>> head = Head(FeatureAugmenter(256, dropout=0.2), reads="*_features", gives="*_augmented")

    Reference:
        Qin et al., Meta-optimized Contrastive Learning for Sequential Recommendation (MCLRec), 2023, arXiv 2304.07763,
        whose second stage is `kzoo.training.MetaStep`; that `x` is added is our choice.
    """

    def __init__(self, hidden_dim=None, dropout=0.0, **kwargs):
        super().__init__(**kwargs)
        self.hidden_dim = hidden_dim

        # -- layers --
        self.dropout = keras.layers.Dropout(dropout, dtype=self.dtype_policy, name="dropout") if dropout else None

    def build(self, x_shape) -> None:
        hidden = self.hidden_dim or x_shape[-1]
        options = {"batch_norm": False, "dtype": self.dtype_policy}
        self.up = Projector((hidden,), **options, name="up")
        self.up.build(x_shape)
        self.down = Projector((x_shape[-1],), **options, name="down")
        self.down.build((None, hidden))
        if self.dropout is not None:
            self.dropout.build((None, hidden))

    def compute_output_shape(self, x_shape) -> tuple:
        return tuple(x_shape)

    # -- forward --
    def call(self, x, training=None) -> Tensor:
        hidden = ops.relu(self.up(x))
        if self.dropout is not None:
            hidden = self.dropout(hidden, training=training)
        return x + self.down(hidden)
