"""Positions that are not learned."""

import math

import numpy as np

from kzoo.files import limits
from kzoo.types import Array


def sin_cos_positions(grid, width, prefix=0) -> Array:
    """Sines and cosines of the places of a grid, as MAE has them.

    The first half of the channels is of the column, the second of the row; each half is `[sin, cos]` of
    `place * 10000^(-i / (width / 4))`, `i < width / 4`.

    Args:
        grid: rows and columns.
        width: channels, a multiple of 4.
        prefix: rows of zeros in front, for a class token.

    Returns:
        float32 array `(prefix + rows * columns, width)`.

    Raises:
        ValueError: a width that is no multiple of 4, or more numbers than `limits.FIXED`.

    Example:
        >>> sin_cos_positions((1, 2), 4)
        [[0., 1., 0., 1.], [0.8415, 0.5403, 0., 1.]]

    Reference:
        He et al., Masked Autoencoders Are Scalable Vision Learners (MAE), 2021, arXiv 2111.06377.
    """
    if width % 4:
        raise ValueError(f"width is {width}, but sines and cosines of rows and columns take a multiple of 4 channels.")
    _check_count(f"{grid[0]:,} x {grid[1]:,}", (prefix + math.prod(grid)) * width, width)
    frequencies = 10000.0 ** (-np.arange(width // 4) / (width / 4))
    row, column = np.indices(grid).reshape(2, -1, 1)
    angles = [place * frequencies for place in (column, row)]
    table = np.concatenate([wave(each) for each in angles for wave in (np.sin, np.cos)], axis=1)
    return np.pad(table, ((prefix, 0), (0, 0))).astype("float32")


def sequence_positions(length, width, first=0) -> Array:
    """Sines and cosines of the places of a sequence, as fairseq has them.

    The first half of the channels is `sin`, the second `cos` of `place * 10000^(-i / (width // 2 - 1))`; an odd last
    channel is zero.

    Args:
        length: of the sequence.
        width: channels, at least 4.
        first: the first place.

    Returns:
        float32 array `(length, width)`.

    Raises:
        ValueError: fewer than 4 channels, or more numbers than `limits.FIXED`.

    Example:
        >>> sequence_positions(2, 4)
        [[0., 0., 1., 1.], [0.8415, 0.0001, 0.5403, 1.]]

    Reference:
        Vaswani et al., Attention Is All You Need, 2017, arXiv 1706.03762; in fairseq's order.
    """
    if width < 4:
        raise ValueError(f"width is {width}, but sines and cosines of a sequence take at least 4 channels.")
    _check_count(f"{length:,}", length * width, width)
    half = width // 2
    angles = (first + np.arange(length))[:, None] * 10000.0 ** (-np.arange(half) / (half - 1))
    table = np.concatenate([np.sin(angles), np.cos(angles)], axis=1)
    return np.pad(table, ((0, 0), (0, width % 2))).astype("float32")


def _check_count(positions, count, width):
    if count > limits.FIXED:  # no weights of a file bound it
        raise ValueError(
            f"{positions} positions of width {width:,} are {count:,} numbers, more than the {limits.FIXED:,} that are "
            "computed; kzoo.files.limits.FIXED raises it."
        )
