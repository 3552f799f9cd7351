"""How weights start: drawn from a normal distribution, or with nothing where a checkpoint is about to fill them."""

from contextlib import contextmanager

import keras
from keras import ops

_empty = False  # whether weights start with nothing


@contextmanager
def empty_weights():
    """Inside, weights hold nothing: drawing random numbers takes longer than reading a checkpoint over them.

    Example:
        >>> with empty_weights():
        ...     model = build(row)
        >>> load_tensors(entries, drop, model, tensors, place)
    """
    global _empty
    before, _empty = _empty, True
    try:
        yield
    finally:
        _empty = before


def _nothing(shape, dtype):
    if keras.config.backend() == "tensorflow":
        import tensorflow as tf

        return tf.raw_ops.Empty(shape=shape, dtype=dtype or keras.config.floatx())  # costs no memory until it is filled
    return ops.zeros(shape, dtype)


@keras.saving.register_keras_serializable(package="kzoo")
class Normal(keras.initializers.RandomNormal):
    """`N(0, stddev^2)`."""

    def __call__(self, shape, dtype=None):
        return _nothing(shape, dtype) if _empty else super().__call__(shape, dtype)


@keras.saving.register_keras_serializable(package="kzoo")
class HeNormal(keras.initializers.HeNormal):
    """`N(0, 2 / fan_in)`, cut at two standard deviations: for convolutions before a rectifier.

    Reference:
        He et al., Delving Deep into Rectifiers, 2015, arXiv 1502.01852.
    """

    def __call__(self, shape, dtype=None):
        return _nothing(shape, dtype) if _empty else super().__call__(shape, dtype)
