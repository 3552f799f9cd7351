"""A disk that fails at a chosen change of files, and processes that are killed there."""

import os
import signal
import traceback

from kzoo.files import disk

CHANGES = ("write", "make_folder", "rename", "remove", "remove_folder", "overwrite", "sync")


class Stopped(BaseException):
    """What a process that is killed does not live to see: nothing is done to files after it."""


class Breaking:
    """Stands between kzoo and its files, and counts what is changed.

    Args:
        patch: pytest's monkeypatch.
        at: number of the change that fails, from 0; None for none.
        error: number of an `OSError` that this one change raises, `"stop"` for a process that does nothing more, or
            `"kill"` for one that gets SIGKILL.
    """

    def __init__(self, patch, at=None, error=None):
        self.at, self.error, self.count, self.dead = at, error, 0, False
        for name in CHANGES:
            patch.setattr(disk, name, self.wrapped(name, getattr(disk, name)))

    def wrapped(self, name, change):
        def broken(*arguments):
            if self.dead:
                raise Stopped
            self.count += 1
            if self.count - 1 != self.at:
                return change(*arguments)
            if name == "write":
                write_half(*arguments)
            return self.fail(arguments[0])

        return broken

    def fail(self, path):
        if self.error == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        if self.error == "stop":
            self.dead = True
            raise Stopped
        raise OSError(self.error, os.strerror(self.error), str(path))


def write_half(path, content):
    """What is there of a file when its writer stops in the middle."""
    pieces = []
    content(lambda piece: pieces.append(bytes(memoryview(piece)))) if callable(content) else pieces.append(content)
    whole = b"".join(pieces)
    with open(path, "wb") as file:
        file.write(whole[: len(whole) // 2])


def in_fork(work):
    """Start a process that does some work; returns its number."""
    child = os.fork()
    if child:
        return child
    try:
        work()
    except BaseException:
        traceback.print_exc()
        os._exit(1)
    os._exit(0)


def ended(child):
    """Wait for a process; returns the number of the signal that ended it, or else minus its exit code."""
    _, status = os.waitpid(child, 0)
    return os.WTERMSIG(status) if os.WIFSIGNALED(status) else -os.WEXITSTATUS(status)
