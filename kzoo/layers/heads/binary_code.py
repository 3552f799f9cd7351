"""Binary codes that are trained: bits in the forward pass, their probabilities in the backward pass."""

import keras
import numpy as np
from keras import ops

from kzoo.arguments import COUNT
from kzoo.layers.configured import Configured
from kzoo.layers.initializers import Normal
from kzoo.types import Tensor


@keras.saving.register_keras_serializable(package="kzoo")
class BinaryCode(Configured, keras.layers.Layer):
    """A linear layer whose outputs are bits: `b = [sigmoid(x W + w) > 1/2]`, given as `2 b - 1`.

    The bits have the gradient of the sigmoid that they are rounded from (straight through), so any loss of embeddings
    trains codes: the cosine of two is `1 - 2 h / bits` with their Hamming distance `h`. `kzoo.retrieval.BinaryIndex`
    takes the layer's `numbers()` and keeps a bit of each.

    Args:
        bits: length of a code.

    Inputs:
        float tensor `(batch, ..., width)`.

    Returns:
        float32 tensor `(batch, ..., bits)` of -1 and 1.

    Raises:
        ValueError: no bits.

    Example:
        >>> codes = Head(BinaryCode(64), reads="*_embeddings", gives="*_codes")
        >>> model = kzoo.DualEncoder(image_encoder, text_encoder, heads=[codes])
        >>> model.compile(loss=InfoNCE() + InfoNCE(0.1, inputs=("image_codes", "text_codes")))
        >>> kernel, bias = codes.layer.numbers()
        >>> index = kzoo.retrieval.BinaryIndex(model.encode_image(photos), kernel=kernel, bias=bias)

    Reference:
        Grzegorczyk and Kurdziel, Binary Paragraph Vectors, 2016, arXiv 1611.01116: the coding layer and its gradient,
        there between documents and words; that codes are signed is our choice.
    """

    arguments = {"bits": COUNT}

    def __init__(self, bits, **kwargs):
        super().__init__(**kwargs)
        self.bits = bits

    def build(self, x_shape) -> None:
        width = x_shape[-1]
        initializer = Normal(stddev=1.0)  # of unit rows: sigmoids that are neither all one half nor steps
        self.kernel = self.add_weight(name="kernel", shape=(width, self.bits), initializer=initializer)
        self.bias = self.add_weight(name="bias", shape=(self.bits,), initializer="zeros", autocast=False)

    def compute_output_shape(self, x_shape) -> tuple:
        return (*x_shape[:-1], self.bits)

    def numbers(self) -> tuple[np.ndarray, np.ndarray]:
        """Kernel `(width, bits)` and bias `(bits,)`, float32."""
        return tuple(ops.convert_to_numpy(ops.cast(each, "float32")) for each in (self.kernel, self.bias))

    # -- forward --
    def call(self, x) -> Tensor:
        probability = ops.sigmoid(ops.cast(ops.matmul(x, self.kernel), "float32") + self.bias)
        bit = ops.cast(probability > 0.5, "float32")
        return 2.0 * (bit + (probability - ops.stop_gradient(probability))) - 1.0  # of which the bracket is 0
