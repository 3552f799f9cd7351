"""How many rows of a batch are compared at a time: what a loss is told, what its model was compiled with, and `"auto"`.

Below `WHOLE` scores all pairs are compared at once: they fit into any memory, and the gradient of blocks computes them
again. Above it blocks are smaller and not slower: see `benchmarks/loss_memory.py`.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

AUTO = "auto"
WHOLE = 2**24  # scores, 64 MB of float32: a batch of 4096 compared with itself
HELD = 3 * 2**18  # scores of a block of a product, where one has all columns: more take memory, and hardly less time
LEAST = 48  # rows of such a block: fewer take more time than all at once
ROWS = 256  # of a block; what blocks say of the columns is rows^2 / 256 numbers, and fewer rows are not faster

FEW = 2048  # rows: two views of so many are compared at once

# rows at a time of losses that were told nothing, and whether a batch of no fixed size has few
_ASKED = ContextVar("blocks of losses", default=(None, False))


@contextmanager
def blocks_of(block_size, few=False) -> Iterator:
    """Within it losses that were told no `block_size` take this one.

    Args:
        block_size: a number of rows, `"auto"`, or None.
        few: whether a batch of no fixed size, as TensorFlow's graphs have it, is known to have at most `FEW` rows: then
            nothing has to be decided as the graph runs.

    Example:
        >>> with blocks_of("auto"):
        ...     loss = InfoNCE()(a, b)
    """
    before = _ASKED.set((block_size, few))
    try:
        yield
    finally:
        _ASKED.reset(before)


def asked(block_size) -> Any:
    """A loss's own `block_size`, or where it has none that of `blocks_of`."""
    return _ASKED.get()[0] if block_size is None else block_size


def most_rows() -> int | None:
    """The most rows that a batch of no fixed size has, if that is known."""
    return FEW if _ASKED.get()[1] else None


def chosen(block_size, scores, each=1, columns=None) -> int | None:
    """Rows at a time, None for all at once, where the number of scores is known.

    Args:
        block_size: what was asked for.
        scores: numbers that all pairs make, an int.
        each: numbers that one pair makes, such as the matches of two bags.
        columns: of a product whose blocks have all columns; None of all else.

    Example:
        >>> chosen("auto", 4096**2), chosen("auto", 16384**2), chosen(64, 16384**2)
        (None, 256, 64)
        >>> chosen("auto", 16384**2, columns=16384)
        48
    """
    if block_size != AUTO:
        return block_size
    if scores <= WHOLE:
        return None
    return max(1, ROWS // each) if columns is None else min(ROWS, max(LEAST, HELD // columns))
