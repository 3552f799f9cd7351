"""Arrays that become tensors with as few copies as a backend needs."""

import ctypes
import math

import keras
import numpy as np
from keras import ops

from kzoo.types import Array, Tensor

STRIP = 32  # rows of a matrix that are transposed at once: their pieces of a column fill whole lines of a cache
LARGE = 2**14  # numbers of a matrix from which on that is faster


def handed_over(array, dtype=None) -> Tensor:
    """A tensor of the numbers of an array, which nobody else has and nobody changes from here on; one that may not be
    written to may be somebody else's.

    On torch it may be in the memory of the array, on TensorFlow where that is of `memory_for`. TensorFlow would copy
    an array twice, of which this spares one.

    Args:
        array: numpy array.
        dtype: of the tensor; default that of the array.

    Example:
        >>> handed_over(np.zeros((2, 3), "float32")).shape
        (2, 3)
    """
    dtype = keras.backend.standardize_dtype(dtype or array.dtype)
    if array.dtype.name != "float32":
        return ops.convert_to_tensor(array, dtype)
    backend = keras.config.backend()
    if backend == "torch":
        import torch

        return ops.convert_to_tensor(torch.from_numpy(owned(array)), dtype)
    if backend == "tensorflow" and dtype == "float32":
        array = array if hasattr(array, "tensor") else put(array, memory_for(array.shape))
        return ops.convert_to_tensor(getattr(array, "tensor", array), dtype)
    return ops.convert_to_tensor(array, dtype)  # jax takes longer with what was put in order before


def check_not_traced(what) -> None:
    """Stops within a function that TensorFlow or jax traces, where tensors have no numbers: a model that is made there
    would keep them.

    Args:
        what: is made, for the sentence.

    Raises:
        RuntimeError: within `tf.function`, a graph of TensorFlow, or `jax.jit`.
    """
    backend, around = keras.config.backend(), None
    if backend == "tensorflow":
        import tensorflow as tf

        around = None if tf.executing_eagerly() else "tf.function or a graph of TensorFlow"
    elif backend == "jax":
        import jax

        around = "jax.jit" if isinstance(jax.numpy.zeros(()), jax.core.Tracer) else None
    if around is not None:
        raise RuntimeError(f"{what} cannot be made within {around}; make it before, and use it in there.")


class _OfTensor(np.ndarray):
    """The memory of a tensor of TensorFlow, its attribute `tensor`, as an array; views of it have none."""


def memory_for(shape, dtype="float32") -> Array:
    """New memory for numbers, which `handed_over` takes without a copy once they are there, if they are float32.

    It is that of the backend's own tensors. For large arrays NumPy asks for huge pages, for which a system may move
    what is there, and takes twice as long to give them.

    Args:
        shape: tuple.
        dtype: of NumPy.

    Example:
        >>> memory = memory_for((2, 3))
        >>> memory[...] = 1
        >>> tensor = handed_over(memory)
    """
    backend = keras.config.backend()
    if np.dtype(dtype) != "float32" or not math.prod(shape):
        return np.empty(shape, dtype)
    if backend == "torch":
        import torch

        return torch.empty(shape, dtype=torch.float32, device="cpu").numpy()
    if backend == "tensorflow":
        import tensorflow as tf

        if tf.executing_eagerly():
            return _of_tensor(tf, shape)
    return np.empty(shape, dtype)


def _of_tensor(tf, shape):
    with tf.device("CPU"):
        tensor = tf.raw_ops.Empty(shape=shape, dtype="float32")
    # NumPy gets it to read alone; nobody else has it yet, so that it may be written to
    owner = (ctypes.c_float * math.prod(shape)).from_address(np.from_dlpack(tensor).ctypes.data)
    owner.tensor = tensor  # which lives as long as any view
    found = np.frombuffer(owner, "float32").reshape(shape).view(_OfTensor)
    found.tensor = tensor
    return found


def owned(array) -> Array:
    """The array, or a copy of what may not be written to or does not lie in order."""
    return array if array.flags.c_contiguous and array.flags.writeable else put(array, memory_for(array.shape))


class Scratch:
    """Memory for one array at a time, of which tensors are made before the next is read into it; jax, which may copy
    an array later, gets memory of its own."""

    def __init__(self):
        self.memory = np.empty(0, "uint8")

    def __call__(self, shape, dtype) -> Array:
        """An array in this memory, to be written to."""
        if keras.config.backend() == "jax":
            return np.empty(shape, dtype)
        size = math.prod(shape) * np.dtype(dtype).itemsize
        if size > self.memory.size:
            self.memory = None  # given back before there is more
            self.memory = np.empty(size, "uint8")
        return self.memory[:size].view(dtype).reshape(shape)


def put(array, placed) -> Array:
    """Write the numbers of an array into another of its shape, which lie in order there; a large matrix is transposed
    in a third of NumPy's time."""
    if array.ndim != 2 or array.size < LARGE or array.flags.c_contiguous or not array.flags.f_contiguous:
        placed[...] = array
        return placed
    for start in range(0, array.shape[1], STRIP):
        placed[:, start : start + STRIP] = array[:, start : start + STRIP]
    return placed
