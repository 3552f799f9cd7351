"""Batches made before they are asked for, by threads: pictures are decoded while a step is computed."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

CHUNK = 8  # rows that a thread takes at a time
MAKERS = 2  # batches that are made beside each other: one is put together while rows of the next are read


class Ahead:
    """Makes the batches after the one that is asked for, none of them beyond the end of the epoch.

    Threads of Keras would each make a batch of their own, ten of them ahead, and go on into an epoch whose order is not
    that of the next one. Here all threads read rows of the same batches, so that few are held however large they are.

    Args:
        make: function `(epoch, index)` that gives a batch.
        threads: that read rows, see `map`.

    Example:
        >>> ahead = Ahead(data.at, threads=2)
        >>> batch = ahead.get(epoch=0, index=3, count=len(data), depth=4)
    """

    def __init__(self, make, threads):
        self.make, self._held, self._guard = make, {}, threading.Lock()
        self._makers = ThreadPoolExecutor(MAKERS, thread_name_prefix="kzoo-batches")
        self._readers = ThreadPoolExecutor(threads, thread_name_prefix="kzoo-rows")

    def get(self, epoch, index, count, depth) -> Any:
        """A batch, after which the next ones are begun.

        Args:
            epoch, index: of the batch.
            count: batches of the epoch.
            depth: how many are made ahead at most.
        """
        with self._guard:
            wanted = [(epoch, each) for each in range(index, min(count, index + 1 + depth))] or [(epoch, index)]
            for key in self._held.keys() - set(wanted):
                self._held.pop(key).cancel()
            for key in wanted:
                if key not in self._held:
                    self._held[key] = self._makers.submit(self.make, *key)
            found = self._held.pop(wanted[0])
        return found.result()

    def map(self, read: Callable, rows) -> list:
        """What a function gives for each row, in their order; the first error is raised."""
        chunks = [rows[start : start + CHUNK] for start in range(0, len(rows), CHUNK)]
        found = self._readers.map(lambda chunk: [read(row) for row in chunk], chunks)
        return [each for chunk in found for each in chunk]
