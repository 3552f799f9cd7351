"""The random numbers of weights, for a whole model by several threads."""

import math
import os
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import ContextVar

import numpy as np

from kzoo.handed_over import memory_for
from kzoo.types import Array

MOST = 8  # threads: more wait for memory
AHEAD = 2**25  # numbers that are drawn before they are taken, 0.13 GB: so much is held twice where a backend copies

_ahead = ContextVar("drawn_ahead", default=None)  # of this thread alone


def processors() -> int:
    """How many processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def numbers(seed, shape, stddev, cut) -> Array:
    """Numbers of a normal distribution, float32: the same on each backend, and no shape has to be compiled.

    Args:
        seed: integer.
        shape: tuple.
        stddev: standard deviation, a float.
        cut: where it is cut off, in standard deviations before the cut; None for nowhere.
    """
    generator = np.random.default_rng(seed)
    values = generator.standard_normal(dtype="float32", out=memory_for(shape))
    if cut is not None:
        flat = values.reshape(-1)
        far = np.flatnonzero(np.abs(flat) > cut)
        while far.size:
            flat[far] = again = generator.standard_normal(far.size, dtype="float32")
            far = far[np.abs(again) > cut]
    values *= np.float32(stddev)
    return values


def taken(*draw) -> Array:
    """As `numbers`, of which another thread may have drawn them."""
    ahead = _ahead.get()
    found = None if ahead is None else ahead.take(draw)
    return numbers(*draw) if found is None else found


@contextmanager
def drawn_ahead() -> Iterator:
    """Inside, the numbers that `taken` gives are drawn by threads, a few arrays ahead.

    NumPy draws without holding up other threads. What fails in a thread is raised where its numbers are taken, and no
    thread is left at the end.

    Yields:
        what is told, by its method `add`, of draws that will be taken.
    """
    with ThreadPoolExecutor(min(processors(), MOST)) as threads:
        ahead = _Ahead(threads.submit)
        token = _ahead.set(ahead)
        try:
            yield ahead
        finally:
            _ahead.reset(token)
            threads.shutdown(wait=False, cancel_futures=True)  # waited for where the block ends


class _Ahead:
    """Draws in their order, of which the next few have begun."""

    def __init__(self, submit: Callable):
        self.waiting, self.submit, self.begun, self.count = deque(), submit, deque(), 0

    def add(self, *draw) -> None:
        """A draw, arguments of `numbers`, which will be taken after those before, if at all."""
        self.waiting.append(draw)
        self.begin()

    def begin(self) -> None:
        while self.waiting and self.count < AHEAD:
            draw = self.waiting.popleft()
            self.begun.append((draw, self.submit(numbers, *draw)))
            self.count += _count(draw)

    def take(self, draw) -> Array | None:
        """The numbers of a draw that has begun, in place of which none before it will be taken; None for any other."""
        if all(draw != each for each, _ in self.begun):
            return None
        taken = future = None
        while taken != draw:
            taken, future = self.begun.popleft()
            self.count -= _count(taken)
        self.begin()
        return future.result()


def _count(draw):
    _, shape, *_ = draw
    return math.prod(shape)
