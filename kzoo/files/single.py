"""How a single file is written: whenever a writer may be killed, the old or the new one is there whole."""

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from hashlib import sha256
from pathlib import Path

from kzoo.files import disk
from kzoo.files.locks import fcntl, locked_file

logger = logging.getLogger("kzoo")

STAGING = ".kzoo-saving"
LEFT = "%s: a writer that was killed had left a part, which was removed."


def check_ending(path, ending) -> None:
    """Stops at a file to write whose name ends otherwise than what opens it again looks for.

    Raises:
        ValueError: another ending.
    """
    if Path(path).suffix != ending:
        raise ValueError(f"path is {str(path)!r}; give a name that ends in {ending}.")


def try_file(path) -> None:
    """Stops unless a file can be written or added to, before the work that does it; nothing is left.

    Raises:
        OSError: as `replacing`.
    """
    with disk.in_words(path):
        if Path(path).is_file():
            open(path, "ab").close()
            return
        if Path(path).is_char_device():
            return
    with suppress(TriedError), replacing(path):
        raise TriedError


@contextmanager
def replacing(path) -> Iterator:
    """A file to write in binary, which has the place of `path` when all of it is written; an error changes nothing.

    Args:
        path: of the file; the folder must be there.

    Yields:
        a file object, open for writing.

    Raises:
        OSError: as `kzoo.files.writing.writing`.
    """
    path = Path(path)
    with disk.in_words(path):
        staged = _place_for(path)
        with _staged_file(staged, path) as file:
            try:
                yield file
                file.flush()
                os.fsync(file.fileno())
                if fcntl is None:
                    file.close()  # an open file cannot be renamed
                disk.rename(staged, path)
            except BaseException:
                with suppress(OSError):  # a full disk does not take what is left to write, either
                    file.close()
                with suppress(OSError):
                    disk.remove(staged)
                raise
            disk.sync(path.parent)


@contextmanager
def replacing_by_name(path) -> Iterator:
    """As `replacing`, for a writer that opens the file itself, by a name.

    Yields:
        `pathlib.Path` beside `path`, of the same ending, to be written.

    Raises:
        OSError: as `replacing`.

    Example:
        >>> with replacing_by_name("my.weights.h5") as name:
        ...     model.save_weights(name)
    """
    path = Path(path)
    with disk.in_words(path):
        staged = _place_for(path)
        named = staged.with_name(staged.name + "".join(path.suffixes[-2:]))
        with _staged_file(staged, path):  # the lock: HDF5 wants the file that it writes for itself
            try:
                if os.path.lexists(named):
                    disk.remove(named)
                    logger.warning(LEFT, path)
                yield named
                disk.sync(named)
                disk.rename(named, path)
                disk.sync(path.parent)
            finally:
                for each in (named, staged):
                    with suppress(OSError):
                        disk.remove(each)


def _place_for(path):
    """Where a file is written before it has its place."""
    if path.is_dir():
        raise IsADirectoryError(f"{path} is a folder, but a file is to be written; give it another name.")
    if os.path.lexists(path) and not path.is_symlink() and not path.is_file():
        raise FileExistsError(f"{path} is no regular file, and would be replaced by one; give it another name.")
    if not path.parent.is_dir():
        raise FileNotFoundError(f"{path} cannot be written: there is no folder {path.parent}; make it first.")
    return path.parent / f"{STAGING}-{sha256(path.name.encode('utf-8', 'replace')).hexdigest()[:12]}"


class TriedError(Exception):
    """Nothing is to be written."""


@contextmanager
def _staged_file(staged, path):
    """A new file, locked for as long as it is open; one that a killed writer left is emptied, and this is said."""
    busy = BlockingIOError(f"another writer is writing {path}; wait until it is done, or choose another name.")
    handle = locked_file(staged, busy)
    if os.fstat(handle).st_size:
        logger.warning(LEFT, path)
        os.ftruncate(handle, 0)
    with os.fdopen(handle, "w+b") as file:
        yield file
