"""Ctrl-C, held back where it would leave a model between two states."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def interrupted_between_steps(is_alive) -> Iterator:
    """Ctrl-C waits while the weights before a step are gone and those after it are not there yet.

    Args:
        is_alive: function that says whether the weights before the step are there still.
    """
    handler = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or not callable(handler):
        yield
        return
    waiting = []

    def wait(*arguments):
        if is_alive():
            handler(*arguments)
        waiting.append(arguments)

    signal.signal(signal.SIGINT, wait)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, handler)
    if waiting:
        handler(*waiting[0])
