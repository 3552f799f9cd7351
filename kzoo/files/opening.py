"""Opens what lies in folders of any origin: regular files alone, no larger than is expected, and none elsewhere.

A pipe, a socket or a device in the place of a file would have its reader wait for ever, or read for ever.
"""

import os
import stat
from pathlib import Path
from typing import BinaryIO

from kzoo.files import limits

OPENED = (".safetensors", ".npz", ".h5", ".json", ".txt", ".gz", ".model")  # endings of the files of a checkpoint
KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}
POINTER, LARGEST_POINTER = b"version https://git-lfs.github.com/spec/", 1024  # how one begins, and bytes of one
# to open a pipe waits for who writes into it; Windows knows neither pipes in folders nor the flag, but texts
FLAGS = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)


def check_regular(path) -> None:
    """Stops with a sentence unless what a path leads to is a regular file.

    Raises:
        FileNotFoundError: there is nothing.
        ValueError: there is a folder, a pipe, a socket or a device.
    """
    _check(os.stat(path), path)


def open_regular(path) -> BinaryIO:
    """A regular file, open for reading bytes; for the errors see `check_regular`. A pointer of git LFS is refused.

    Example:
        >>> with open_regular("cat.jpg") as file:
        ...     start = file.read(4)
    """
    check_regular(path)  # to open a device may already do something
    file = os.fdopen(os.open(path, FLAGS), "rb")
    try:
        found = os.fstat(file.fileno())
        _check(found, path)  # what was opened, whatever became of the path since
        if found.st_size <= LARGEST_POINTER:
            _refuse_pointer(file, path)
    except BaseException:
        file.close()
        raise
    return file


def check_pointer(path) -> None:
    """Stops at a pointer of git LFS, where a library could not read a file and does not know of them.

    Raises:
        ValueError: it is one.
    """
    open_regular(path).close()


def _refuse_pointer(file, path):
    pointer = file.read(len(POINTER)) == POINTER
    file.seek(0)
    if pointer:
        raise ValueError(
            f"{path} is a pointer of git LFS, not the file that it stands for; fetch that with `git lfs pull` in its "
            "repository, or with `hf download owner/name`."
        )


def read_bytes(path, limit) -> bytes:
    """The content of a regular file.

    Args:
        path: of the file.
        limit: bytes that it may have, one of `kzoo.files.limits`.

    Raises:
        ValueError: it has more, or is no file.
    """
    with open_regular(path) as file:
        return read_all(file, limit, path)


def read_all(file, limit, path) -> bytes:
    """What is left of an open file, which may be one that unpacks itself; for the arguments see `read_bytes`."""
    content = file.read(limit + 1)
    if len(content) > limit:
        raise ValueError(
            f"{path} holds more than the {limit:,} bytes that a file of its kind may have; kzoo.files.limits raises it."
        )
    return content


def check_unpacked(size, path) -> None:
    """Stops at a file whose parts together unpack to more than it can be meant to hold.

    Args:
        size: bytes of all of them, unpacked, as the file declares them.
        path: of the file.

    Raises:
        ValueError: more than `limits.UNPACKED`, and than `limits.EXPANSION` for each byte of the file.
    """
    packed = os.stat(path).st_size
    if size > max(limits.UNPACKED, limits.EXPANSION * packed):
        raise ValueError(
            f"{path} unpacks to {size:,} bytes from {packed:,}; kzoo.files.limits.EXPANSION raises what is taken."
        )


def read_text(path, limit) -> str:
    """The content of a regular file in UTF-8, with the ends of lines as `open` gives them.

    Raises:
        ValueError: another encoding; and see `read_bytes`.
    """
    return as_text(read_bytes(path, limit), path)


def as_text(content, path) -> str:
    """Bytes of a file as text; see `read_text`."""
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not UTF-8: {error.reason} at byte {error.start:,}.") from error
    return text.replace("\r\n", "\n").replace("\r", "\n")


def within(folder, name, said_by, below=False) -> Path:
    """The path of a file that another file of its folder names, which lies in the folder and nowhere else.

    Args:
        folder: path.
        name: as it stands in the file.
        said_by: name of that file, for the sentence.
        below: whether it may lie in a folder within the folder.

    Raises:
        ValueError: the name is no plain name, or a link leads out of the folder.

    Example:
        >>> within(Path("my_clip_onnx"), "image_encoder.onnx", "manifest.json")
        PosixPath('my_clip_onnx/image_encoder.onnx')
    """
    plain = isinstance(name, str) and not {"\\", "\0"} & set(name) and ".." not in Path(name).parts
    if not plain or Path(name).is_absolute() or not Path(name).name or (Path(name).name != name and not below):
        raise ValueError(
            f"{folder / said_by} names {str(name)[:200]!r}, which is no file beside it; nothing elsewhere is opened."
        )
    check_inside(folder / name, home_of(folder))
    return folder / name


def home_of(folder) -> Path:
    """How far links in a folder may lead: the folder itself or, of a snapshot in the hub's cache, which is a folder of
    links into the blobs of its repository, that repository."""
    home = folder.resolve()
    if home.parent.name == "snapshots" and home.parent.parent.name.startswith("models--"):
        return home.parent.parent
    return home


def check_inside(path, home) -> None:
    """Stops where a path is a link, or lies behind one, that leads out of `home`."""
    try:
        leads_to = path.resolve()
    except (OSError, RuntimeError) as error:  # links that lead to each other
        raise ValueError(f"{path} is a link that leads nowhere ({error}).") from error
    if not leads_to.is_relative_to(home):
        raise ValueError(
            f"{path} is a link to {leads_to}, outside of the folder; nothing there is opened. Copy the file into the "
            "folder."
        )


def _check(status, path):
    if not stat.S_ISREG(status.st_mode):
        kind = KINDS.get(stat.S_IFMT(status.st_mode), "no regular file")
        raise ValueError(f"{os.fspath(path)} is {kind}, but a file is expected.")
