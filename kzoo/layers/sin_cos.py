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
    count = (prefix + math.prod(grid)) * width
    if count > limits.FIXED:  # no weights of a file bound it
        raise ValueError(
            f"{grid[0]:,} x {grid[1]:,} positions of width {width:,} are {count:,} numbers, more than the "
            f"{limits.FIXED:,} that are computed; kzoo.files.limits.FIXED raises it."
        )
    frequencies = 10000.0 ** (-np.arange(width // 4) / (width / 4))
    row, column = np.indices(grid).reshape(2, -1, 1)
    angles = [place * frequencies for place in (column, row)]
    table = np.concatenate([wave(each) for each in angles for wave in (np.sin, np.cos)], axis=1)
    return np.pad(table, ((prefix, 0), (0, 0))).astype("float32")
