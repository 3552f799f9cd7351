"""Noise on embeddings, which lets a text stand for a picture in training."""

import keras
from keras import ops

from kzoo.layers.configured import Configured
from kzoo.layers.numerics import l2_normalize
from kzoo.types import Tensor


@keras.saving.register_keras_serializable(package="kzoo")
class GaussianEmbeddingNoise(Configured, keras.layers.Layer):
    """`n(n(x) + w e)` with `e ~ N(0, I)` while training, `n(x)` otherwise; `n` scales a row to unit length.

    Texts and images of a contrastive model lie in one space, but apart from each other. What is trained to read a
    text's embedding with noise around it also reads that of a picture nearby (CLOSE).

    Args:
        stddev: `w`, per channel; 0 adds none. The noise is about `w * sqrt(dim)` long, where the embedding has length
            1: the paper's 0.04 to 0.12, by task, are for CLIP's 768 channels, so fewer channels take more.
        seed: of the random numbers; default a new one.

    Inputs:
        float tensor `(batch, dim)`, of any length.

    Returns:
        float32 tensor `(batch, dim)`, unit length.

    Raises:
        ValueError: a negative stddev.

    Example:
        >>> noise = GaussianEmbeddingNoise(0.08)
        >>> noise(np.array([[3.0, 4.0]]))
        [[0.6, 0.8]]
        >>> noise(np.array([[3.0, 4.0]]), training=True)
        [[0.53, 0.85]]

    Reference:
        Gu et al., CLOSE ("I Can't Believe There's No Images!"), 2022, arXiv 2211.09778.
    """

    def __init__(self, stddev, seed=None, **kwargs):
        super().__init__(**(kwargs | {"dtype": "float32"}))
        self.stddev = stddev
        self.seed_generator = keras.random.SeedGenerator(seed) if stddev else None
        self.built = True

    # -- forward --
    def call(self, x, training=None) -> Tensor:
        x = l2_normalize(x)
        if training and self.seed_generator is not None:
            noise = keras.random.normal(ops.shape(x), dtype="float32", seed=self.seed_generator)
            x = l2_normalize(x + self.stddev * noise)
        return x
