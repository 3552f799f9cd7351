"""Every change that kzoo makes to files, and what is said where the disk allows none.

Who writes goes through the functions of this file by its name, `disk.rename(...)`: whatever they do can be made to fail
in one place, and that no failure loses a model is tested at each of them.
"""

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager

UNCHANGED = "what was there is unchanged"
_REASONS = {
    "ENOSPC": "the disk is full",
    "EDQUOT": "the disk has no room left for this user",
    "EFBIG": "the disk takes no file of this size",
    "EROFS": "the disk can only be read",
    "EACCES": "this user may not write there",
    "EPERM": "this user may not write there",
    "ENAMETOOLONG": "the name is too long",
    "ENOTDIR": "a file stands where a folder should be",
    "ENOENT": "nothing can be made there",
    "ELOOP": "its links lead in a circle",
    "EIO": "the disk fails",
    "ESTALE": "the disk of the network is gone",
}
REASONS = {getattr(errno, name): reason for name, reason in _REASONS.items() if hasattr(errno, name)}
# of writing alone, which libraries of C++ tell in the words of the system
NO_ROOM = {getattr(errno, name) for name in ("ENOSPC", "EDQUOT", "EFBIG", "EROFS") if hasattr(errno, name)}
ADDED = "what was in it is there still"


@contextmanager
def in_words(target, state=UNCHANGED) -> Iterator:
    """Around changes of files: what the disk does not allow is one sentence, with the target and what became of it.

    Args:
        target: path that was to be written.
        state: what is said of it.
    """
    try:
        yield
    except Exception as error:
        number = number_of(error)
        if number is None or (isinstance(error, OSError) and error.strerror is None):  # which is a sentence already
            raise
        kind = type(error) if isinstance(error, OSError) else OSError
        said = kind(f"{target} cannot be written: {REASONS[number]}; {state}.")
        said.errno = number
        raise said from error


def number_of(error) -> int | None:
    """The number of an error of the disk, also of one that a library has only passed on as a text; None of others.

    Example:
        >>> number_of(RuntimeError("variables.data: No space left on device")) == errno.ENOSPC
        True
    """
    if isinstance(error, OSError):
        return error.errno if error.errno in REASONS else None
    text = str(error)
    return next((number for number in NO_ROOM if os.strerror(number) in text), None)


def write(path, content) -> None:
    """Write a new file.

    Args:
        path: of a file that is not there.
        content: bytes; or a function that hands them over piece by piece, to the function that it is called with.
    """
    with open(path, "xb", buffering=0) as file:

        def put(piece):
            piece = memoryview(piece)
            piece = piece.cast("B") if piece.nbytes else memoryview(b"")
            while len(piece):  # a write may end early
                piece = piece[file.write(piece) :]

        content(put) if callable(content) else put(content)


def append(path, content) -> None:
    """Add bytes at the end of a file, all of them or none; it is made where it is not there."""
    with open(path, "ab", buffering=0) as file:
        size = os.fstat(file.fileno()).st_size
        rest = memoryview(content)
        try:
            while len(rest):  # as above
                rest = rest[file.write(rest) :]
        except OSError:
            if file.seekable():  # no terminal
                file.truncate(size)
            raise


def check_room(path, size) -> None:
    """Stops where the disk has no room for a new file, before a library writes it that does not survive that: HDF5.

    Args:
        path: of a file that is not there, and is not afterwards.
        size: bytes.

    Raises:
        OSError: the disk, or what this user may have of it, is full.
    """
    with open(path, "xb") as file:
        try:
            if hasattr(os, "posix_fallocate"):
                os.posix_fallocate(file.fileno(), 0, size)
        except OSError as error:
            if error.errno in NO_ROOM:  # else of a disk that sets no room aside
                raise
        finally:
            os.unlink(path)


def make_folder(path) -> None:
    os.mkdir(path)


def rename(old, new) -> None:
    """Give a file or folder another name, over the file that has it."""
    os.replace(old, new)


def overwrite(path, source) -> None:
    """Give a file the content of another one, where it cannot be replaced: a file that is a mount point."""
    shutil.copyfile(source, path, follow_symlinks=False)


def remove(path) -> None:
    """Remove a file or a link."""
    os.unlink(path)


def remove_folder(path) -> None:
    """Remove an empty folder."""
    os.rmdir(path)


def sync(path) -> None:
    """See to it that a file's content, or a folder's names, outlast a loss of power."""
    folder = os.path.isdir(path)
    if folder and os.name == "nt":
        return  # which opens no folders
    handle = os.open(path, os.O_RDONLY if os.name != "nt" else os.O_RDWR | os.O_BINARY)
    try:
        os.fsync(handle)
    except OSError as error:
        if not folder or error.errno != errno.EINVAL:  # of a file system that keeps no names back
            raise
    finally:
        os.close(handle)
