"""What several threads want at the same time, read by the first of them and held for a while."""

import threading
from collections.abc import Callable, Hashable
from concurrent.futures import Future
from typing import Any


class ReadOnce:
    """Results of a function by its argument: each is read once for all threads that want it, the first of which reads
    it; the one that was wanted longest ago is let go, and stays with those who have it.

    Args:
        read: function of one argument. An `Exception` that it raises is raised for all who want the same.
        most: how many are held at once.

    Example:
        >>> groups = ReadOnce(file.read_row_group, most=2)
        >>> groups.get(7)
    """

    def __init__(self, read: Callable, most):
        self.read, self.most = read, most
        self._guard, self._held = threading.Lock(), {}

    def __len__(self) -> int:
        return len(self._held)

    def __contains__(self, key) -> bool:
        return key in self._held

    def get(self, key: Hashable) -> Any:
        """What the function gives for an argument."""
        with self._guard:
            found = self._held.pop(key, None)
            mine = found is None
            self._held[key] = found = found or Future()
            while len(self._held) > self.most:
                del self._held[next(iter(self._held))]
        if mine:
            try:
                found.set_result(self.read(key))
            except BaseException as error:  # whoever waits for it must not wait for ever
                found.set_exception(error)
                if not isinstance(error, Exception):  # of this thread alone: the next one reads it anew
                    with self._guard:
                        self._held.pop(key, None)
        return found.result()
