"""Loops over pairs in float64 that the softmax losses are compared with, and what their tests need."""

import math

import numpy as np
from shared_case import numpy


def embeddings(*shape, seed=0, count=2):
    """Arrays of random float32, one after the other."""
    return list(np.random.default_rng(seed).normal(size=(count, *shape)).astype("float32"))


def unit(x):
    x = np.asarray(x, "float64")
    return x / np.linalg.norm(x, axis=-1, keepdims=True)


def log_sum(values):
    return max(values) + math.log(sum(math.exp(v - max(values)) for v in values))


def row_losses(x, y, temperature, target, keep=None):
    """`sum_j T_ij (LSE_k z_ik - z_ij)` of each row of `x` against the rows of `y`; 0 where the target is empty."""
    x, y = unit(x), unit(y)
    losses = np.zeros(len(x))
    for i in range(len(x)):
        z = [float(x[i] @ y[j]) / temperature for j in range(len(y))]
        for j in range(len(y)):
            if target[i][j]:
                losses[i] += target[i][j] * (
                    log_sum([z[k] for k in range(len(y)) if keep is None or keep[i][k]]) - z[j]
                )
    return losses


def value_of(loss, *args, **kwargs):
    return float(numpy(loss(*args, **kwargs)))
