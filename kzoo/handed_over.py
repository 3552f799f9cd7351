"""Arrays that become tensors with as few copies as a backend needs."""

import keras
import numpy as np
from keras import ops

from kzoo.types import Array, Tensor

STRIP = 32  # rows of a matrix that are transposed at once: their pieces of a column fill whole lines of a cache
LARGE = 2**14  # numbers of a matrix from which on that is faster


def handed_over(array, dtype=None) -> Tensor:
    """A tensor of the numbers of an array, which nobody else has and nobody changes from here on.

    On torch it may be in the memory of the array. TensorFlow copies an array twice, of which this spares one.

    Args:
        array: numpy array.
        dtype: of the tensor; default that of the array.

    Example:
        >>> handed_over(np.zeros((2, 3), "float32")).shape
        (2, 3)
    """
    dtype = keras.backend.standardize_dtype(dtype or array.dtype)
    if array.dtype.name != "float32" or not array.flags.writeable:
        return ops.convert_to_tensor(array, dtype)
    backend = keras.config.backend()
    if backend == "torch":
        import torch

        return ops.convert_to_tensor(torch.from_numpy(array), dtype)  # whose strides may be of any order
    if backend == "tensorflow" and dtype == "float32":
        import tensorflow as tf

        if tf.executing_eagerly():
            return ops.convert_to_tensor(_Only(in_order(array)), dtype)
    return ops.convert_to_tensor(array, dtype)  # jax takes longer with what was put in order before


class _Only:
    """An array that TensorFlow does not know as one, which it would copy against changes before it copies it anyway."""

    def __init__(self, array):
        self.array, self.shape, self.dtype = array, array.shape, array.dtype

    def __array__(self, dtype=None, copy=None) -> Array:
        return self.array


def in_order(array) -> Array:
    """The array, or a copy whose numbers lie in order; a large matrix is transposed in a third of NumPy's time."""
    if array.ndim != 2 or array.size < LARGE or array.flags.c_contiguous or not array.flags.f_contiguous:
        return np.ascontiguousarray(array) if array.ndim else array
    placed = np.empty(array.shape, array.dtype)
    for start in range(0, array.shape[1], STRIP):
        placed[:, start : start + STRIP] = array[:, start : start + STRIP]
    return placed
