"""What keeps two writers apart."""

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress

try:
    import fcntl
except ModuleNotFoundError:  # on Windows
    fcntl = None

logger = logging.getLogger("kzoo")

LOCK = ".kzoo-lock"


@contextmanager
def locked(folder) -> Iterator:
    """Keeps other writers out of a folder, in this process and in others; a process that dies keeps nobody out.

    Raises:
        BlockingIOError: another writer is there.
    """
    busy = BlockingIOError(f"another writer is saving into {folder}; wait until it is done, or choose another folder.")
    if fcntl is None:
        try:  # a file that the system takes away with the process that has it open
            handle, file = os.open(folder / LOCK, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_TEMPORARY), None
        except FileExistsError:
            raise busy from None
    else:
        handle, file = os.open(folder, os.O_RDONLY), None
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(handle)
            raise busy from None
        except OSError:  # on a disk of the network, which locks files that can be written, but no folders
            os.close(handle)
            handle, file = locked_file(folder / LOCK, busy), folder / LOCK
    try:
        yield
    finally:
        with suppress(OSError):
            if file is not None:
                os.unlink(file)
            if fcntl is not None:
                fcntl.flock(handle, fcntl.LOCK_UN)  # a fork of this process may have the folder open, too
        os.close(handle)


def locked_file(path, busy) -> int:
    """The handle of a file that no other writer has locked; it is made where it is not there.

    Raises:
        BlockingIOError: `busy`.
    """
    while True:
        handle = os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_BINARY", 0), 0o666)
        if fcntl is None:
            return handle
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(handle)
            raise busy from None
        except OSError:
            logger.warning("%s is on a disk that knows no locks; let no other process write there.", path.parent)
            return handle
        with suppress(FileNotFoundError):  # renamed or removed by its owner before the lock was had: it is not ours
            if os.path.samestat(os.fstat(handle), os.stat(path)):
                return handle
        os.close(handle)
