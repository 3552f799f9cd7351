"""What stands behind the projector of one view only: BYOL, SimSiam, and decoders of a code."""

import math

import keras
from keras import ops

from kzoo.arguments import COUNT, sequence
from kzoo.layers.configured import Configured
from kzoo.layers.projector import Projector
from kzoo.types import Tensor


@keras.saving.register_keras_serializable(package="kzoo")
class Predictor(Configured, keras.layers.Layer):
    """An MLP that foretells one view's projection from another's: linear, batch norm, activation, linear.

    It stands on one side only, which is what keeps a model without negatives from answering the same to everything.

    Args:
        hidden_dim: width between the layers; SimSiam takes a quarter of the projection's.
        output_dim: width of the output; default that of the input.
        activation: between the layers.
        batch_norm: normalise between the layers.
        output_norm: normalise the output too, without gain and offset, as MoCo v3 does.

    Inputs:
        float tensor `(batch, ..., width)`.

    Returns:
        float tensor `(batch, ..., output_dim)`.

    Example:
        >>> head = Head(Predictor(32), reads="*_projected", gives="*_predicted")
        >>> Predictor(32)(np.zeros((2, 128))).shape
        (2, 128)

    Reference:
        Grill et al., BYOL, 2020, arXiv 2006.07733; Chen and He, SimSiam, 2020, arXiv 2011.10566.
    """

    def __init__(self, hidden_dim, output_dim=None, activation="relu", batch_norm=True, output_norm=False, **kwargs):
        super().__init__(**kwargs)
        self.hidden_dim, self.output_dim = hidden_dim, output_dim
        self.activation, self.batch_norm, self.output_norm = activation, batch_norm, output_norm

    def build(self, x_shape) -> None:
        sizes = (self.hidden_dim, self.output_dim or x_shape[-1])
        norms = {"batch_norm": self.batch_norm, "output_norm": self.output_norm}
        self.mlp = Projector(sizes, self.activation, **norms, dtype=self.dtype_policy, name="mlp")
        self.mlp.build(x_shape)

    def compute_output_shape(self, x_shape) -> tuple:
        return (*x_shape[:-1], self.output_dim or x_shape[-1])

    # -- forward --
    def call(self, x, training=None) -> Tensor:
        return self.mlp(x, training=training)


@keras.saving.register_keras_serializable(package="kzoo")
class CodeDecoder(Configured, keras.layers.Layer):
    """An MLP from an embedding back to what it was made of, which shows its last hidden state too.

    `ContrastiveMIM` compares the state with the code; the reconstruction goes to a loss of its own, such as
    `MaskedImageModelling` with all patches masked.

    Args:
        hidden_dim: width of the state.
        output_shape: of one reconstruction, such as `(patches, values)`.
        activation: between the layers.

    Inputs:
        float tensor `(batch, width)`.

    Returns:
        `(state, reconstruction)`: float tensors `(batch, hidden_dim)` and `(batch, *output_shape)`.

    Example:
        >>> head = Head(CodeDecoder(64, (16, 192)), reads="image_features", gives=("hidden_states", "prediction"))

    Reference:
        Livne, cMIM, 2025, arXiv 2502.19642, of which this is a small decoder of ours.
    """

    arguments = {"output_shape": sequence(COUNT, "the shape of a code, whole numbers of at least 1", 1)}

    def __init__(self, hidden_dim, output_shape, activation="gelu", **kwargs):
        super().__init__(**kwargs)
        self.hidden_dim, self.shape_of_one, self.activation = hidden_dim, tuple(output_shape), activation

    def build(self, x_shape) -> None:
        options = {"activation": self.activation, "batch_norm": False, "dtype": self.dtype_policy}
        self.to_state = Projector((self.hidden_dim, self.hidden_dim), **options, name="to_state")
        self.to_state.build(x_shape)
        self.to_values = Projector((math.prod(self.shape_of_one),), **options, name="to_values")
        self.to_values.build((None, self.hidden_dim))

    def compute_output_shape(self, x_shape) -> tuple:
        return (x_shape[0], self.hidden_dim), (x_shape[0], *self.shape_of_one)

    # -- forward --
    def call(self, x) -> tuple:
        state = self.to_state(x)
        return state, ops.reshape(self.to_values(state), (-1, *self.shape_of_one))
