"""Depthwise convolutions of jax on CPUs, one pixel of the kernel after the other.

XLA's own takes about twenty times as long there: it multiplies each channel as a convolution by itself, where all of
these products and sums are one pass over the map.
"""

from functools import cache
from itertools import product
from typing import Any

from kzoo.layers.own_gradient import own_gradient
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

    def run(x, kernel, strides):
        return own_gradient(lambda x, kernel: _by_taps(x, kernel[..., 0], strides))(x, kernel)

    return jax.jit(run, static_argnums=2)


def _by_taps(x, kernel, strides):
    """The map, and the function of its upstream gradient to those of `x` and of the kernel."""
    from jax import numpy as jnp
    from jax.lax import pad

    sides, taps = kernel.shape[:2], list(product(*map(range, kernel.shape[:2])))
    grid = [(size - side) // step + 1 for size, side, step in zip(x.shape[1:3], sides, strides)]
    lengths = [step * (size - 1) + 1 for size, step in zip(grid, strides)]

    def seen(x, tap):
        rows, columns = (slice(at, at + length, step) for at, length, step in zip(tap, lengths, strides))
        return x[:, rows, columns]

    def gradients(*arguments, upstream=None):
        upstream = arguments[-1] if upstream is None else upstream
        rests = [size - length - side + 1 for size, length, side in zip(x.shape[1:3], lengths, sides)]
        frame = [(side - 1, side - 1 + rest, step - 1) for side, rest, step in zip(sides, rests, strides)]
        wide = pad(upstream, jnp.zeros((), upstream.dtype), [(0, 0, 0), *frame, (0, 0, 0)])
        turned = kernel[::-1, ::-1]
        of_x = sum(wide[:, i : i + x.shape[1], j : j + x.shape[2]] * turned[i, j] for i, j in taps)
        of_kernel = jnp.stack([jnp.sum(seen(x, tap) * upstream, (0, 1, 2)) for tap in taps])
        return of_x, of_kernel.reshape(*sides, -1, 1)

    return sum(seen(x, tap) * kernel[tap] for tap in taps), gradients
