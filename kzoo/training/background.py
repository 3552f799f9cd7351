"""Work that a training does not wait for."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor


class Background:
    """One thread that does one thing at a time: whoever gives it the next waits until it is done with the last.

    What goes wrong there is raised where it is waited for, once.

    Example:
        >>> with Background() as background:
        ...     background.do(write, arrays)
        ...     background.wait()
    """

    def __init__(self):
        self._thread, self._doing = ThreadPoolExecutor(1, "kzoo-background"), None

    def do(self, work: Callable, *arguments) -> None:
        """Begin with some work, after the last is done.

        Raises:
            Exception: what the last has raised.
        """
        self.wait()
        self._doing = self._thread.submit(work, *arguments)

    def wait(self) -> None:
        """Wait for what is being done; for the errors see `do`."""
        doing, self._doing = self._doing, None
        if doing is not None:
            doing.result()

    def __enter__(self) -> "Background":
        return self

    def __exit__(self, kind, error, trace) -> None:
        try:
            self.wait()
        except Exception:
            if kind is None:
                raise
            error.add_note("What was being written meanwhile was not written, either.")
        finally:
            self._thread.shutdown()
