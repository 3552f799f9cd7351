"""The one rule for the length of embeddings, and for those that have no direction. In numpy."""

import numpy as np

from kzoo.types import Array

ROUNDING = 16  # times the precision of the numbers: a length this near 1 is 1


def directions(rows, name="the embeddings") -> Array:
    """Rows at unit length.

    Whatever compares embeddings asks this first: cosines do not depend on lengths, so embeddings of any length are
    welcome (other libraries give them as their towers do), and rows that have unit length stay the same to the last
    bit.

    Args:
        rows: float array `(..., dim)`.
        name: of the rows, for the sentence.

    Returns:
        float array `(..., dim)`.

    Raises:
        ValueError: a row that is zero or not finite: it has no direction, and no cosine with anything.

    Example:
        >>> directions(np.array([[3.0, 4.0], [0.0, 1.0]]))
        array([[0.6, 0.8], [0. , 1. ]])
    """
    rows, found = with_direction(rows)
    if not found.all():
        missing = np.argwhere(~found)
        raise ValueError(
            f"row {missing[0][-1]} of {name} is zero or not finite, and so has no direction ({len(missing)} of "
            f"{found.size} rows); embed it again, in float32 if it was made in half precision."
        )
    return rows


def with_direction(rows) -> tuple:
    """Rows at unit length, and a bool array `(...)` that says which have a direction; the others become zeros."""
    length = np.sqrt(np.einsum("...i,...i->...", rows, rows, dtype="float64"))  # nothing overflows that was in range
    found = np.isfinite(length) & (length > 0)
    if not found.all():
        rows, length = np.where(found[..., None], rows, 0), np.where(found, length, 1.0)
    near = np.abs(length - 1.0) <= ROUNDING * np.finfo(rows.dtype).eps
    if not near.all():
        rows = rows / np.where(near, 1.0, length)[..., None].astype(rows.dtype)
    return rows, found
