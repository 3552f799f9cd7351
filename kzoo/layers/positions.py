"""Position tables for another image size or context length."""

import numpy as np

from kzoo.types import Array


def resize_grid(table, grid, new_grid) -> Array:
    """Resample the table of a grid of patches: bicubic with antialiasing, as open_clip does.

    Args:
        table: float array `(extra + rows * columns, width)`; the rows before the grid (a class token) stay.
        grid, new_grid: `(rows, columns)` that the table has and that it shall have.

    Returns:
        float32 array `(extra + new rows * new columns, width)`; the table itself for an equal grid.

    Reference:
        Keys, Cubic convolution interpolation, 1981, with a = -0.5, stretched where the grid shrinks.
    """
    if tuple(grid) == tuple(new_grid):
        return table
    extra = len(table) - grid[0] * grid[1]
    x = table[extra:].reshape(*grid, -1).astype("float64")
    for axis, matrix in enumerate(grid_resampling(grid, new_grid)):
        x = np.moveaxis(np.tensordot(matrix, x, axes=(1, axis)), 0, axis)
    return np.concatenate([table[:extra], x.reshape(-1, table.shape[1])]).astype("float32")


def grid_resampling(grid, new_grid) -> list:
    """The matrices `(new rows, rows)` and `(new columns, columns)` that `resize_grid` multiplies with, float64."""
    return [_resampling(old, new, _cubic, radius=2.0, antialias=True) for old, new in zip(grid, new_grid)]


def resize_sequence(table, length, extra=0) -> Array:
    """Resample the table of a text tower linearly, as open_clip does: `(old length, width)` to `(length, width)`.

    The last `extra` rows, which are no places of the text, stay.
    """
    if len(table) == length:
        return table
    places = len(table) - extra
    matrix = _resampling(places, length - extra, _triangle, radius=1.0, antialias=False)
    return np.concatenate([(matrix @ table[:places].astype("float64")).astype("float32"), table[places:]])


def _resampling(old, new, kernel, radius, antialias):
    """The matrix `(new, old)` that resamples; pixel centres at halves, weights beyond the edge left out."""
    step = old / new
    stretch = max(step, 1.0) if antialias else 1.0
    centres = (np.arange(new, dtype="float32") + 0.5) * np.float32(step)  # rounded as torch rounds them
    if not antialias:  # beyond the first and last centre the edge is repeated
        centres = centres.clip(0.5, old - 0.5)
    distance = (np.arange(old) + 0.5 - centres[:, None]) / stretch
    weights = np.where(np.abs(distance) < radius, kernel(np.abs(distance)), 0.0)
    return weights / weights.sum(axis=1, keepdims=True)


def _cubic(x, a=-0.5):
    near = (a + 2) * x**3 - (a + 3) * x**2 + 1
    far = a * (x**3 - 5 * x**2 + 8 * x - 4)
    return np.where(x < 1, near, far)


def _triangle(x):
    return 1.0 - x
