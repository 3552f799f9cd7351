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
            return handler(*arguments)  # once: it may be one that only takes note
        return waiting.append(arguments)

    signal.signal(signal.SIGINT, wait)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, handler)
    if waiting:
        handler(*waiting[0])


class Leaving:
    """What has asked a process to leave, so that it can do so where nothing is lost.

    Attributes:
        number: of the signal, None as long as none has come.
    """

    def __init__(self):
        self.number, self.handlers = None, {}

    def note(self, number, frame) -> None:
        """The handler: the first signal is noted, the second is not held back."""
        if self.number is None:
            self.number = number
        else:
            self.leave(number, frame)

    def is_handled(self) -> bool:
        """Whether somebody else says what becomes of the signal that has come."""
        return self.number is not None and self.handlers[self.number] not in (
            signal.SIG_DFL,
            signal.default_int_handler,
        )

    def leave(self, number=None, frame=None) -> None:
        """Do what the signal would have done: Ctrl-C raises KeyboardInterrupt, SIGTERM ends the process with 143, the
        exit status that shells give it; a handler of somebody else is called."""
        number = self.number if number is None else number
        before = self.handlers.get(number, signal.SIG_DFL)
        if callable(before):
            before(number, frame)
        elif before == signal.SIG_DFL:
            raise SystemExit(128 + number)


@contextmanager
def leaving_noted() -> Iterator[Leaving]:
    """Within it Ctrl-C and SIGTERM are noted, for whoever asks `number` and calls `leave`. Of threads that are not the
    main one, which get no signals, nothing is noted.

    Example:
        >>> with leaving_noted() as leaving:
        ...     for step in steps:
        ...         step()
        ...         if leaving.number is not None:
        ...             save()
        ...             leaving.leave()
    """
    leaving = Leaving()
    if threading.current_thread() is not threading.main_thread():
        yield leaving
        return
    for number in (signal.SIGINT, signal.SIGTERM):
        before = signal.getsignal(number)
        if before is not None and before != signal.SIG_IGN:  # None: of a handler that is not of Python
            leaving.handlers[number] = before
            signal.signal(number, leaving.note)
    try:
        yield leaving
    finally:
        for number, before in leaving.handlers.items():
            signal.signal(number, before)
