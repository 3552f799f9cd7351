"""How long the loop of a training stands still until a batch is there."""

import time
from collections.abc import Iterator
from typing import Any

import keras


class Stopwatch:
    """Told by the loop when it asks for a batch and when it has one; see `kzoo.keras_contact.weights_kept`.

    Attributes:
        waited: seconds since `reset`; None on TensorFlow, whose compiled step asks for its batch by itself.

    Example:
        >>> watch = Stopwatch()
        >>> for batch in watch.timed(batches): ...
        >>> watch.waited
        0.004
    """

    def __init__(self):
        self.reset()

    def reset(self) -> None:
        """Begin with an epoch."""
        self.waited = None if keras.config.backend() == "tensorflow" else 0.0
        self.since = time.perf_counter() if keras.config.backend() == "torch" else None

    def step_ends(self) -> None:
        """On torch, whose loop asks for the next batch from here on."""
        self.since = time.perf_counter()

    def step_begins(self) -> None:
        """On torch, whose loop has its batch."""
        if self.since is not None:
            self.waited += time.perf_counter() - self.since
            self.since = None

    def timed(self, batches) -> Iterator:
        """On jax, whose step asks for its batch."""
        return _Timed(batches, self)


class _Timed:
    def __init__(self, batches, watch):
        self.batches, self.watch = batches, watch

    def __iter__(self) -> "_Timed":
        return self

    def __next__(self) -> Any:
        begun = time.perf_counter()
        try:
            return next(self.batches)
        finally:
            self.watch.waited += time.perf_counter() - begun
