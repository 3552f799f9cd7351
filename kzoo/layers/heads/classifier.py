"""Logits over classes or words."""

import keras
from keras import ops

from kzoo.layers.configured import Configured
from kzoo.layers.initializers import Normal
from kzoo.layers.numerics import l2_normalize
from kzoo.types import Tensor


@keras.saving.register_keras_serializable(package="kzoo")
class Classifier(Configured, keras.layers.Layer):
    """A linear layer to logits, or cosines with one vector of each class.

    With the vocabulary as classes it says which words a picture calls for (`TokenClassification`), and of each token
    which words its text has (`BagOfWordsDecoding`).

    Args:
        num_classes: classes, words or cells.
        scale: None for a linear layer; a number for `scale * cos(x, w)`, whose vectors `w` have no bias.
        bias: of the linear layer.

    Inputs:
        float tensor `(batch, ..., width)`.

    Returns:
        float32 tensor `(batch, ..., num_classes)`.

    Raises:
        ValueError: no class, a scale that is not positive.

    Example:
        >>> words = Head(Classifier(vocab_size), reads="image_features", gives="token_logits")
        >>> cosines = Head(Classifier(100, scale=16.0), reads="image_features", gives="logits")

    Reference:
        Cosines: Wang et al., NormFace, 2017, arXiv 1704.06369.
    """

    def __init__(self, num_classes, scale=None, bias=True, **kwargs):
        super().__init__(**kwargs)
        self.num_classes, self.scale, self.use_bias = num_classes, scale, bias and scale is None

    def build(self, x_shape) -> None:
        width = x_shape[-1]
        self.kernel = self.add_weight(
            name="kernel", shape=(width, self.num_classes), initializer=Normal(stddev=width**-0.5)
        )
        self.bias = None
        if self.use_bias:
            self.bias = self.add_weight(name="bias", shape=(self.num_classes,), initializer="zeros", autocast=False)

    def compute_output_shape(self, x_shape) -> tuple:
        return (*x_shape[:-1], self.num_classes)

    # -- forward --
    def call(self, x) -> Tensor:
        if self.scale is not None:
            return self.scale * ops.matmul(l2_normalize(x), ops.transpose(l2_normalize(ops.transpose(self.kernel))))
        logits = ops.cast(ops.matmul(x, self.kernel), "float32")
        return logits if self.bias is None else logits + self.bias
