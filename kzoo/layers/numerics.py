"""Numeric rules that every room shares: safe unit length, float32 norms, exact activations."""

import math
from collections.abc import Callable
from functools import cache
from typing import Any

import keras
from keras import ops

from kzoo.keras_contact import CalledDirectly, OwnMoments, is_training
from kzoo.layers.own_gradient_jax import is_traced
from kzoo.types import Tensor

NORM_FLOOR = 1e-12  # of the squared length: a zero vector stays zero and its gradient stays finite
NEGATIVE = -1e30  # a mask in float32; -inf would turn 0 * inf into NaN in the gradient


def l2_normalize(x) -> Tensor:
    """Scale the last axis to unit length, in float32 under every dtype policy.

    Computes `x * rsqrt(max(sum(x^2), 1e-12))`: a zero vector comes out as zero, with a finite gradient.

    Args:
        x: float tensor `(..., dim)`.

    Returns:
        float32 tensor `(..., dim)`, each row of length 1 (or 0).

    Example:
        >>> l2_normalize(np.array([[3.0, 4.0]]))
        [[0.6, 0.8]]
    """
    x = ops.cast(x, "float32")
    squared_length = ops.sum(ops.square(x), axis=-1, keepdims=True)
    return x * ops.rsqrt(ops.maximum(squared_length, NORM_FLOOR))


def log_sum_exp(z, axis, keepdims=False) -> Tensor:
    """`log sum exp` along an axis, whose gradient takes one pass over `z` and holds one more array of its size.

    Written out: that of torch computes the exponentials again for the gradient, in three arrays.

    Args:
        z: float tensor; `NEGATIVE` leaves an entry out.
        axis: int.
        keepdims: whether the axis stays, with length 1.

    Returns:
        float tensor, about `NEGATIVE` where all is left out.

    Example:
        >>> log_sum_exp(np.zeros((2, 3)), axis=1)
        [1.0986, 1.0986]
    """
    z = ops.convert_to_tensor(z)
    largest = ops.stop_gradient(ops.max(z, axis=axis, keepdims=True))
    log_sum = largest + ops.log(ops.sum(ops.exp(z - largest), axis=axis, keepdims=True))
    return log_sum if keepdims else ops.squeeze(log_sum, axis=axis)


def quick_gelu(x) -> Tensor:
    """`x * sigmoid(1.702 x)`, the activation of OpenAI's CLIP (2021, arXiv 2103.00020)."""
    if _runs_in_torch(x):
        from kzoo.layers import kernels_torch

        return kernels_torch.quick_gelu(x)
    if keeps_less(x):
        from kzoo.layers import kernels_tensorflow

        return kernels_tensorflow.activation("quick_gelu")(x)
    return x * ops.sigmoid(1.702 * x)


def gelu(x) -> Tensor:
    """`0.5 x (1 + erf(x / sqrt 2))`, exact (Hendrycks and Gimpel 2016, arXiv 1606.08415).

    Written with `erf` where it is traced: `ops.gelu(approximate=False)` leaves TensorFlow as an `Erfc` node that no
    ONNX runtime loads. On torch the operation makes one pass over memory.
    """
    if _runs_in_torch(x):
        from kzoo.layers import kernels_torch

        return kernels_torch.gelu(x)
    if keeps_less(x):
        from kzoo.layers import kernels_tensorflow

        return kernels_tensorflow.activation("gelu")(x)
    return 0.5 * x * (1.0 + ops.erf(x * (1.0 / math.sqrt(2.0))))


def gelu_tanh(x) -> Tensor:
    """The tanh form of GELU, the default of JAX and of SigLIP's towers."""
    if keeps_less(x):
        from kzoo.layers import kernels_tensorflow

        return kernels_tensorflow.activation("gelu_tanh")(x)
    return ops.gelu(x, approximate=True)


def _runs_in_torch(x):
    if keras.config.backend() != "torch":
        return False
    from kzoo.layers.kernels_torch import runs_now

    return runs_now(x)


def keeps_less(*tensors) -> bool:
    """Whether tensors are of a training step that TensorFlow traces, whose gradients `kernels_tensorflow` writes out; a
    graph that is exported is not."""
    if keras.config.backend() != "tensorflow" or not is_training():
        return False
    from kzoo.layers.kernels_tensorflow import in_graph

    return in_graph(*tensors)


def value_of(x) -> Tensor:
    """A weight, array or tensor as a tensor; `ops.convert_to_tensor`, which looks at many things, does the rest."""
    if isinstance(x, keras.Variable):
        return x.value
    return x if ops.is_tensor(x) else ops.convert_to_tensor(x)


def reshape(x, shape) -> Tensor:
    """`ops.reshape`, at once of a tensor of torch, where it takes less time than to look for a symbolic one."""
    if keras.config.backend() == "torch" and ops.is_tensor(x):
        return x.reshape(shape)
    return ops.reshape(x, shape)


def heads_first(x) -> Tensor:
    """`(batch, length, heads, d)` to `(batch, heads, length, d)`, whose numbers lie in that order."""
    if keras.config.backend() == "torch" and ops.is_tensor(x):
        return x.transpose(1, 2).contiguous()  # elsewhere to transpose is to move
    return ops.transpose(x, (0, 2, 1, 3))


def cast(x, dtype) -> Tensor:
    """`ops.cast`, where anything is to be cast."""
    return x if ops.is_tensor(x) and keras.backend.standardize_dtype(x.dtype) == dtype else ops.cast(x, dtype)


def written(cache, new, at) -> Tensor:
    """`cache` `(rows, heads, S, d)` with `new` `(rows, heads, 1, d)` where `at` `(rows, S)` is True, once a row."""
    if _runs_in_torch(cache) and all(map(ops.is_tensor, (new, at))) and new.dtype == cache.dtype:
        from kzoo.layers import kernels_torch

        return kernels_torch.written(cache, new, at)
    return ops.where(ops.expand_dims(at, (1, 3)), new, cache)


def squared_relu(x) -> Tensor:
    """`max(x, 0)^2` (So et al., Primer, 2021, arXiv 2109.08668)."""
    return ops.square(ops.relu(x))


ACTIVATIONS = {
    "quick_gelu": quick_gelu,
    "gelu": gelu,
    "gelu_tanh": gelu_tanh,
    "relu": ops.relu,
    "squared_relu": squared_relu,
    "silu": ops.silu,
}


def activation_function(name) -> Callable:
    """The activation called `name`, one of `ACTIVATIONS`."""
    if name not in ACTIVATIONS:
        raise ValueError(f"activation {name!r} is unknown; choose one of {', '.join(sorted(ACTIVATIONS))}.")
    return ACTIVATIONS[name]


def embed(table, ids) -> Tensor:
    """Rows of an embedding table, `(..., width)` for ids `(...)`, with a dense gradient.

    TensorFlow's own gradient of a lookup keeps a row per occurrence, and the Adam of Keras squares those one by one
    instead of their sum: words that occur twice in a batch would train differently than on other backends.
    """
    if keras.config.backend() == "tensorflow":
        table = 1.0 * ops.convert_to_tensor(table)  # the gradient of a product is dense
    elif keras.config.backend() == "jax" and is_traced(value_of(table)):  # of a table that is exported it is not
        return _embed_on_jax()(value_of(table), value_of(ids))
    return ops.take(table, ids, axis=0)


@cache
def _embed_on_jax() -> Callable:
    """The gradient begins as zeros of the size of the table, which the compiler would make when the step begins, and
    hold while all else is computed. These hang on what comes from above, so that they are made where they are needed.
    """
    from jax import numpy

    from kzoo.layers.multilinear_jax import multilinear

    def of_table(upstream, table, ids):
        number = upstream.ravel()[:1].sum()
        never = numpy.logical_and(numpy.isnan(number), number == 0)
        zeros = numpy.broadcast_to(numpy.where(never, 1, 0).astype(table.dtype), table.shape)
        return zeros.at[ids].add(upstream.astype(table.dtype))

    return multilinear("kzoo_embed", lambda table, ids: numpy.take(table, ids, axis=0), {0: of_table})


class LayerNormalization(CalledDirectly, keras.layers.LayerNormalization):
    """That of Keras."""

    def call(self, inputs) -> Tensor:
        if _runs_in_torch(inputs) and self.axis == [-1] and self.compute_dtype == "float32":
            from kzoo.layers import kernels_torch

            if kernels_torch.on_processor(inputs):
                weights = (each if each is None else value_of(each) for each in (self.gamma, self.beta))
                return kernels_torch.layer_norm(inputs, *weights, self.epsilon)
        weighted = self.gamma is not None and self.beta is not None
        plain = self.axis == [-1] and self.compute_dtype == "float32" and weighted
        if plain and keras.config.backend() == "tensorflow" and ops.is_tensor(inputs) and inputs.dtype == "float32":
            from kzoo.layers import kernels_tensorflow

            weights = (value_of(each) for each in (self.gamma, self.beta))
            if keeps_less(inputs):
                return kernels_tensorflow.layer_norm(self.epsilon)(inputs, *weights)
            return kernels_tensorflow.plain_norm(inputs, *weights, self.epsilon)
        return super().call(inputs)


class BatchNormalization(OwnMoments, keras.layers.BatchNormalization):
    """That of Keras."""

    def moments(self, x, axes) -> tuple | None:
        """On TensorFlow those of kzoo, which have a second derivative."""
        if keras.config.backend() != "tensorflow" or self.synchronized or not ops.is_tensor(x):
            return None
        from kzoo.layers import kernels_tensorflow

        return kernels_tensorflow.moments(axes)(x)


class RMSNormalization(CalledDirectly, keras.layers.RMSNormalization):
    """That of Keras."""


def layer_norm(epsilon, name) -> Any:
    """A layer norm whose weights and arithmetic are float32 under every dtype policy."""
    return LayerNormalization(epsilon=epsilon, dtype="float32", name=name)


def rms_norm(epsilon, name) -> Any:
    """A norm by the root mean square, `x / sqrt(mean(x^2) + epsilon) * scale`, in float32 under every dtype policy
    (Zhang and Sennrich 2019, arXiv 1910.07467)."""
    return RMSNormalization(epsilon=epsilon, dtype="float32", name=name)


NORMS = {"layer": layer_norm, "rms": rms_norm}
