"""Depthwise convolutions of jax on CPUs, one pixel of the kernel after the other.

XLA's own takes about twenty times as long there: it multiplies each channel as a convolution by itself, where all of
these products and sums are one pass over the map.
"""

from functools import cache
from itertools import product
from typing import Any

from kzoo.layers.multilinear_jax import multilinear
from kzoo.types import Tensor


def convolved(x, kernel, strides) -> Tensor | None:
    """A map under a kernel that has a filter for each channel, or None where XLA's convolution is to be used: on other
    devices, and in a graph that is traced to be exported, whose batch has no size yet.

    Args:
        x: tensor `(batch, height, width, channels)`, with its padding.
        kernel: tensor `(rows, columns, channels, 1)`, of the same type.
        strides: pair of integers.

    Returns:
        tensor `(batch, rows, columns, channels)`.
    """
    import jax

    if jax.default_backend() != "cpu" or not all(isinstance(each, int) for each in x.shape) or x.dtype != kernel.dtype:
        return None
    return _program()(x, kernel, strides)


@cache
def _program() -> Any:
    """Traced once for all layers of a shape, which halves what a first call takes more than with XLA's convolution."""
    import jax

    taken = multilinear("kzoo_depthwise", _by_taps, {0: _of_map, 1: _of_kernel})
    return jax.jit(lambda x, kernel, strides: taken(x, kernel, strides=strides), static_argnums=2)


def _by_taps(x, kernel, strides):
    return sum(_seen(x, kernel, strides, tap) * kernel[*tap, :, 0] for tap in _taps(kernel))


def _of_map(upstream, x, kernel, strides):
    from jax import numpy as jnp
    from jax.lax import pad

    sides, lengths = kernel.shape[:2], _lengths(x, kernel, strides)
    rests = [size - length - side + 1 for size, length, side in zip(x.shape[1:3], lengths, sides)]
    frame = [(side - 1, side - 1 + rest, step - 1) for side, rest, step in zip(sides, rests, strides)]
    wide = pad(upstream, jnp.zeros((), upstream.dtype), [(0, 0, 0), *frame, (0, 0, 0)])
    turned = kernel[::-1, ::-1, :, 0]
    return sum(wide[:, i : i + x.shape[1], j : j + x.shape[2]] * turned[i, j] for i, j in _taps(kernel))


def _of_kernel(upstream, x, kernel, strides):
    from jax import numpy as jnp

    sums = [jnp.sum(_seen(x, kernel, strides, tap) * upstream, (0, 1, 2)) for tap in _taps(kernel)]
    return jnp.stack(sums).reshape(kernel.shape)


def _taps(kernel):
    return list(product(*map(range, kernel.shape[:2])))


def _lengths(x, kernel, strides):
    """Of each side of the map what a tap sees of it, from its first pixel to its last."""
    steps = ((size - side) // step for size, side, step in zip(x.shape[1:3], kernel.shape, strides))
    return [step * each + 1 for step, each in zip(strides, steps)]


def _seen(x, kernel, strides, tap):
    """The pixels of a map that one pixel of the kernel meets."""
    lengths = _lengths(x, kernel, strides)
    rows, columns = (slice(at, at + length, step) for at, length, step in zip(tap, lengths, strides))
    return x[:, rows, columns]
