"""Random draws of the losses that mix rows of a batch."""

import keras
from keras import ops

from kzoo.types import Tensor


def random_permutation(count, seed) -> Tensor:
    """The numbers from 0 to `count - 1` in random order, int32 `(count,)`.

    Args:
        count: a number, or a scalar tensor where the batch is not known yet.
        seed: a `keras.random.SeedGenerator`.
    """
    return ops.cast(ops.argsort(keras.random.uniform((count,), seed=seed)), "int32")


def random_share(shape, beta, seed) -> Tensor:
    """How much of itself a mixed row keeps, float32 from Beta(beta, beta)."""
    share = keras.random.beta(shape, beta, beta, dtype="float32", seed=seed)
    return ops.where(ops.isnan(share), 0.5, share)  # both gamma draws behind one may be 0 for a small beta
