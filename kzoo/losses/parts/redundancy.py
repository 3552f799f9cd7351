"""Statistics of a batch's columns: what the losses that spread information over the dimensions share."""

from keras import ops

from kzoo.layers.numerics import NORM_FLOOR
from kzoo.types import Tensor


def check_two_rows(loss, x) -> None:
    """Stops when the batch is known to have fewer than the two rows that a variance is made of."""
    if x.shape[0] is not None and x.shape[0] < 2:
        raise ValueError(f"{type(loss).__name__} compares columns over a batch and needs 2 rows, but got {x.shape[0]}.")


def standardised(x) -> Tensor:
    """Columns with mean 0 and variance 1 over the batch (biased); a constant column becomes 0. Float32."""
    x = ops.cast(x, "float32")
    x = x - ops.mean(x, axis=0, keepdims=True)
    variance = ops.mean(ops.square(x), axis=0, keepdims=True)
    return x * ops.rsqrt(ops.maximum(variance, NORM_FLOOR))


def cross_correlation(a, b) -> Tensor:
    """`A^T B / N` of two tensors `(batch, dim)`, `(dim, dim)`."""
    return ops.matmul(ops.transpose(a), b) / ops.cast(ops.shape(a)[0], "float32")


def covariance(x) -> Tensor:
    """The unbiased covariance of the columns of `(batch, dim)`, `(dim, dim)`."""
    x = ops.cast(x, "float32")
    x = x - ops.mean(x, axis=0, keepdims=True)
    return ops.matmul(ops.transpose(x), x) / ops.cast(ops.shape(x)[0] - 1, "float32")


def off_diagonal(matrix) -> Tensor:
    """A square matrix with zeros on its diagonal."""
    return matrix * (1.0 - ops.eye(matrix.shape[0], dtype="float32"))
