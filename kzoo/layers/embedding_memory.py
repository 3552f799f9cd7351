"""One embedding as several tokens that a decoder can attend to."""

import keras
from keras import ops

from kzoo.layers.configured import Configured
from kzoo.layers.linear import dense
from kzoo.types import Tensor


@keras.saving.register_keras_serializable(package="kzoo")
class EmbeddingMemory(Configured, keras.layers.Layer):
    """A linear layer from an embedding to `num_tokens` tokens: of one alone, attention could read nothing but all.

    Args:
        num_tokens: tokens that are made.
        width: channels of each.

    Inputs:
        float tensor `(batch, embed_dim)`, unit length.

    Returns:
        float tensor `(batch, num_tokens, width)`.

    Example:
        >>> EmbeddingMemory(num_tokens=8, width=64)(np.zeros((2, 32))).shape
        (2, 8, 64)

    Reference:
        Mokady et al., ClipCap, 2021, arXiv 2111.09734, where such tokens stand before the text.
    """

    def __init__(self, num_tokens, width, **kwargs):
        super().__init__(**kwargs)
        self.num_tokens, self.width = num_tokens, width
        # a channel of a unit vector is about 1 / sqrt(embed_dim): weights of 1 give tokens of the size of a norm's
        self.projection = dense(num_tokens * width, 1.0, self.dtype_policy, "projection")

    def build(self, embedding_shape) -> None:
        self.projection.build(embedding_shape)

    # -- forward --
    def call(self, embedding) -> Tensor:
        return ops.reshape(self.projection(embedding), (-1, self.num_tokens, self.width))
