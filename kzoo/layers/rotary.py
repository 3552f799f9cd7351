"""Rotary positions: pairs of channels of queries and keys, turned by the place of their token."""

import numpy as np
from keras import ops

from kzoo.types import Array, Tensor

ORDERS = ("rows", "columns")


def rotary_angles(grid, head_width, order="rows", reference=None, offset=0.0, base=10000.0) -> Array:
    """By how much each pair of channels is turned at each place of a grid.

    Half of the pairs turn with the row, half with the column: `place * base^(-i / (head_width / 4))`,
    `i < head_width / 4`.

    Args:
        grid: rows and columns of patches.
        head_width: channels of a head, a multiple of 4.
        order: which pairs come first: those of the `"rows"` (EVA-02) or of the `"columns"` (Perception Encoder).
        reference: rows and columns that every grid is stretched to, so that a larger image has the same angles at its
            edges; default none.
        offset: place of the first row and column.
        base: of the frequencies.

    Returns:
        float64 array `(rows * columns, head_width / 2)`, row-major.

    Raises:
        ValueError: a head whose width is no multiple of 4.

    Example:
        >>> rotary_angles((1, 2), 4)
        [[0., 0.], [0., 1.]]

    Reference:
        Su et al., RoFormer, 2021, arXiv 2104.09864; on two axes: Fang et al., EVA-02, 2023, arXiv 2303.11331.
    """
    if head_width % 4:
        raise ValueError(
            f"heads are {head_width} wide, but rotary positions of rows and columns take a multiple of 4; "
            "choose another num_heads."
        )
    bands = base ** (-np.arange(head_width // 4) / (head_width // 4))
    stretch = (1.0, 1.0) if reference is None else (reference[0] / grid[0], reference[1] / grid[1])
    places = [(place.reshape(-1, 1) + offset) * size for place, size in zip(np.indices(grid), stretch)]
    if order == "columns":
        places.reverse()
    return np.concatenate([place * bands for place in places], axis=1)


def sequence_angles(length, head_width, base=10000.0) -> Array:
    """By how much each pair of channels is turned at each place of a text: `place * base^(-i / (head_width / 2))`.

    Args:
        length: of the text.
        head_width: channels of a head, an even number.
        base: of the frequencies.

    Returns:
        float64 array `(length, head_width / 2)`.

    Raises:
        ValueError: a head of an odd width.

    Example:
        >>> sequence_angles(3, 2)
        [[0.], [1.], [2.]]

    Reference:
        Su et al., RoFormer, 2021, arXiv 2104.09864.
    """
    if head_width % 2:
        raise ValueError(f"heads are {head_width} wide, but rotary positions turn pairs; choose another num_heads.")
    bands = base ** (-np.arange(head_width // 2) / (head_width // 2))
    return np.arange(length)[:, None] * bands


def rotate(x, rotary) -> Tensor:
    """Turns the pairs of channels `(2j, 2j + 1)` of each head.

    Args:
        x: float tensor `(batch, length, heads, d)`, queries or keys.
        rotary: sines and cosines of the angles, each `(length, d / 2)` or `(batch, length, d / 2)`; where the sine is
            0 and the cosine 1, a token stays as it is.

    Returns:
        float tensor of the shape of `x`.
    """
    sin, cos = (ops.expand_dims(ops.cast(each, x.dtype), -2) for each in rotary)  # ([batch,] length, 1, d / 2)
    pairs = ops.reshape(x, (-1, *x.shape[1:3], x.shape[3] // 2, 2))
    even, odd = pairs[..., 0], pairs[..., 1]  # (batch, length, heads, d / 2)
    turned = ops.stack([even * cos - odd * sin, odd * cos + even * sin], axis=-1)
    return ops.reshape(turned, (-1, *x.shape[1:]))
