"""The head of self-supervised training: features to the space of the loss, thrown away afterwards."""

import keras
from keras import ops

from kzoo.layers.configured import Configured
from kzoo.layers.initializers import Normal
from kzoo.layers.linear import dense
from kzoo.layers.numerics import BatchNormalization, activation_function, l2_normalize
from kzoo.types import Tensor


@keras.saving.register_keras_serializable(package="kzoo")
class Projector(Configured, keras.layers.Layer):
    """An MLP between an encoder and a self-supervised loss.

    Every layer but the last is linear, batch norm, activation; the last is linear. With `prototypes` the output is
    made unit length and compared with as many learned unit vectors: the logits that DINO reads.

    Args:
        sizes: width of each layer, such as `(512, 128)`; the last is that of the output.
        activation: between the layers.
        batch_norm: normalise between the layers; DINO's heads do not.
        prototypes: number of unit vectors to compare with, or None.
        output_norm: normalise the output too, without gain and offset, as MoCo v3 does.

    Inputs:
        float tensor `(batch, ..., width)`: embeddings, or tokens, which IBOT compares with prototypes.

    Returns:
        float tensor `(batch, ..., sizes[-1])`, or `(batch, ..., prototypes)`.

    Raises:
        ValueError: no sizes.

    Example:
        >>> Projector((512, 128))(np.zeros((2, 64))).shape
        (2, 128)
        >>> Projector((256, 64), activation="gelu", batch_norm=False, prototypes=4096)(np.zeros((2, 64))).shape
        (2, 4096)

    Reference:
        Chen et al., SimCLR, 2020, arXiv 2002.05709; prototypes: Caron et al., DINO, 2021, arXiv 2104.14294; norm
        of the output: Chen et al., MoCo v3, 2021, arXiv 2104.02057.
    """

    def __init__(self, sizes, activation="relu", batch_norm=True, prototypes=None, output_norm=False, **kwargs):
        super().__init__(**kwargs)
        self.sizes, self.prototypes = tuple(sizes), prototypes
        self.activation, self.batch_norm = activation_function(activation), batch_norm
        self.output_norm = output_norm

    def build(self, x_shape) -> None:
        width, last = x_shape[-1], len(self.sizes) - 1
        self.hidden, self.norms = [], []
        for number, size in enumerate(self.sizes):
            normed = self.output_norm if number == last else self.batch_norm
            self.hidden.append(dense(size, width**-0.5, self.dtype_policy, f"dense_{number}", not normed))
            self.hidden[-1].build((None, width))
            if normed:
                learned = {"center": number < last, "scale": number < last}
                norm = BatchNormalization(momentum=0.9, epsilon=1e-5, dtype="float32", name=f"norm_{number}", **learned)
                norm.build((None, size))
                self.norms.append(norm)
            width = size
        self.prototype_vectors = None
        if self.prototypes is not None:
            self.prototype_vectors = self.add_weight(
                name="prototypes", shape=(self.prototypes, width), initializer=Normal(stddev=width**-0.5)
            )

    def compute_output_shape(self, x_shape) -> tuple:
        return (*x_shape[:-1], self.prototypes or self.sizes[-1])

    # -- forward --
    def call(self, x, training=None) -> Tensor:
        places = ops.shape(x)[1:-1]  # of tokens or maps; a batch norm takes them as more rows
        x = ops.reshape(x, (-1, x.shape[-1])) if places else x
        for number, layer in enumerate(self.hidden):
            x = layer(x)
            if number < len(self.hidden) - 1:
                x = self.norms[number](x, training=training) if self.batch_norm else x
                x = self.activation(x)
        x = self.norms[-1](x, training=training) if self.output_norm else x
        if self.prototype_vectors is not None:
            x = ops.matmul(l2_normalize(x), ops.transpose(l2_normalize(self.prototype_vectors)))
        return ops.reshape(x, (-1, *places, x.shape[-1])) if places else x
