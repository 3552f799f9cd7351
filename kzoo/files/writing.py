"""How folders are written: whenever a writer may be killed, the old or the new one is there whole.

A folder is written into a staging folder within it, so that its place may be a mount point or a link and files of
others stay where they are. When all is there and on the disk, the staging folder gets the name that decides: from then
on the new files are the folder's, and they are moved over the old ones by the writer, or by whoever opens the folder
next.
"""

import errno
import json
import logging
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from kzoo.files import disk
from kzoo.files.layouts import check_layout, is_within
from kzoo.files.locks import locked
from kzoo.files.single import STAGING, TriedError

logger = logging.getLogger("kzoo")

DECIDED = ".kzoo-saved"  # what the staging folder is called once it is decided
PLAN = ".plan.json"
PATIENCE = 10.0  # seconds that a reader waits for a writer to move its files
UNMOVED = f"what is saved lies whole in {DECIDED} within it, and is put in its place when the folder is opened next"


@contextmanager
def writing(folder, layout, overwrite=False) -> Iterator:
    """A place for the files of a model, which are the folder's when all of them are written.

    On an error nothing of the folder is changed, and a folder that was made for this is gone.

    Args:
        folder: path; made if it is not there.
        layout: a name of `kzoo.files.layouts.LAYOUTS`. Files of it that are not written anew go: they are of the model
            that was there.
        overwrite: whether the files of another layout may go, too; else they are refused.

    Yields:
        `pathlib.Path` of the empty staging folder.

    Raises:
        FileExistsError: another layout, see `check_layout`; a file where the folder should be.
        BlockingIOError: another process writes into the folder.
        OSError: the disk takes no more, allows it not, or knows no such name.

    Example:
        >>> with writing("my_clip", "kzoo") as place:
        ...     disk.write(place / "config.json", b"{}")
    """
    folder = Path(folder)
    with disk.in_words(folder), _made(folder), locked(folder):
        _recover(folder)
        old, staging = check_layout(folder, layout, overwrite), folder / STAGING
        try:
            disk.make_folder(staging)
            yield staging
            _decide(folder, staging, old)
        except BaseException:
            with suppress(OSError):  # of a disk that allows nothing any more; the next writer sweeps it
                clear(staging)
            raise
        with disk.in_words(folder, UNMOVED):
            disk.sync(folder)
            _move(folder)


def try_folder(folder, layout, overwrite=False) -> None:
    """Stops as `writing` would, before the work whose result is to be written; nothing is left.

    Raises:
        OSError: as `writing`.
    """
    with suppress(TriedError), writing(folder, layout, overwrite) as place:
        disk.write(place / PLAN, b"\0")
        raise TriedError


def discard(folder) -> None:
    """Remove a folder with all in it: for whoever looks at once, whenever this is killed.

    Raises:
        BlockingIOError: another process writes into the folder around it.
        OSError: the disk allows it not.
    """
    folder = Path(folder)
    with disk.in_words(folder), locked(folder.parent):
        _recover(folder.parent)
        disk.rename(folder, folder.parent / STAGING)
        clear(folder.parent / STAGING)


def readable(folder) -> Path:
    """The folder to read in place of `folder`: itself, once a save that was killed as it ended is brought to its end.

    Where that cannot be written, the files are read from where they lie.

    Args:
        folder: path, of anything.

    Raises:
        BlockingIOError: another process is writing into it and does not end.
        OSError: the files lie in two places and cannot be moved.
    """
    folder = Path(folder)
    staged, until = folder / DECIDED, time.monotonic() + PATIENCE
    while os.path.isdir(staged) and not staged.is_symlink():
        try:
            with locked(folder):
                _finish(folder)
        except BlockingIOError:
            if time.monotonic() > until:
                raise
            time.sleep(0.02)
        except OSError as error:
            plan = _read_plan(staged) or {"files": []}
            unmoved = [name for name in plan["files"] if (staged / name).is_file()]
            if not unmoved:
                return folder
            if len(unmoved) == len(plan["files"]):
                return staged
            raise type(error)(
                f"{folder} was being saved when its writer was killed, and its files cannot be moved to their places "
                f"from here ({error.strerror or error}); open it once where it can be written."
            ) from error
    return folder


@contextmanager
def _made(folder):
    """The folder is there; what had to be made for it is taken away again on an error, where it is empty."""
    missing = []
    for place in (folder, *folder.absolute().parents):
        if place.is_dir():
            break
        if os.path.lexists(place):
            what = "a link that leads nowhere" if place.is_symlink() else "a file"
            raise NotADirectoryError(f"{folder} cannot be a folder: {place} is {what}; choose another name.")
        missing.append(place)
    made = []
    try:
        for place in reversed(missing):
            with suppress(FileExistsError):  # by another process, meanwhile
                disk.make_folder(place)
                made.append(place)
        yield
    except BaseException:
        with suppress(OSError):
            for place in reversed(made):
                disk.remove_folder(place)
        raise


def _decide(folder, staging, old):
    """Sync what is staged, with the plan of what becomes of it, and give it the name that decides."""
    files = sorted(path.relative_to(staging).as_posix() for path in staging.rglob("*") if not path.is_dir())
    inner = {parent.as_posix() for name in files for parent in Path(name).parents[:-1]}
    for place in map(folder.joinpath, files):
        if place.is_dir() and not place.is_symlink():
            raise IsADirectoryError(f"{place} is a folder where a file is to be written; move it away.")
    for place in map(folder.joinpath, inner):
        if place.is_file() and not place.is_symlink():
            raise NotADirectoryError(f"{place} is a file where a folder is to be written; move it away.")
    links = [name for name in sorted(inner) if (folder / name).is_symlink()]
    plan = {"files": files, "remove": [*links, *(name for name in old if name not in files)]}
    disk.write(staging / PLAN, json.dumps(plan).encode())
    for path in (*staging.rglob("*"), staging):
        disk.sync(path)
    disk.rename(staging, folder / DECIDED)


def _recover(folder):
    """See to what a killed writer has left, and say it."""
    _finish(folder)
    if os.path.lexists(folder / STAGING):
        clear(folder / STAGING)
        logger.warning("%s: a save that was killed had left files, which were removed; it had changed nothing.", folder)


def _finish(folder):
    if os.path.lexists(folder / DECIDED):
        _move(folder)
        logger.warning("%s: a save that was killed as it ended was brought to its end.", folder)


def _move(folder):
    """Put what is decided in its place. It may have been begun before, and stop again."""
    decided, plan = folder / DECIDED, _read_plan(folder / DECIDED)
    if plan is not None:
        changed = {folder}
        for name in plan["remove"]:
            path = _within(folder, name)
            if path.is_symlink() or path.is_file():
                disk.remove(path)
                changed.add(path.parent)
        for name in plan["files"]:
            path, staged = _within(folder, name), _within(decided, name)
            for parent in reversed(path.relative_to(folder).parents[:-1]):
                if not (folder / parent).is_dir():
                    disk.make_folder(folder / parent)
            if os.path.lexists(staged):
                _put(staged, path)
            changed.add(path.parent)
        for place in sorted(changed, reverse=True):
            if place != folder and place.is_dir() and not any(place.iterdir()):
                disk.remove_folder(place)
            elif place.is_dir():
                disk.sync(place)
        disk.remove(decided / PLAN)  # from here on there is nothing left to move
    clear(decided)
    disk.sync(folder)


def _within(folder, name):
    """The path of a file that a plan names, unless a link in the folder, which anybody may have made, leads there."""
    path = folder / name
    link = next((folder / each for each in Path(name).parents[:-1] if (folder / each).is_symlink()), None)
    if link is not None:
        raise ValueError(f"{folder} has a plan for {name}, but {link} is a link; nothing is moved. Remove {link}.")
    return path


def _put(staged, path):
    """Move a file to its place, or its content where the place is a mount point."""
    try:
        disk.rename(staged, path)
    except OSError as error:
        if error.errno not in (errno.EBUSY, errno.EXDEV):
            raise
        disk.overwrite(path, staged)
        disk.sync(path)
        disk.remove(staged)


def _read_plan(decided):
    """The plan of a staging folder; None where all of it is done. One that leads out of the folder is refused."""
    path = decided / PLAN
    if decided.is_symlink() or path.is_symlink() or not path.is_file():
        return None
    try:
        plan = json.loads(path.read_bytes())
        names = [*plan["files"], *plan["remove"]]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise ValueError(f"{path} is no plan that kzoo has written ({error!r}); remove {decided}.") from error
    if not all(map(is_within, names)):
        raise ValueError(f"{path} names files outside of its folder; nothing is moved. Remove {decided}.")
    return plan


def clear(path) -> None:
    """Remove a file, a link, or a folder with all that is in it; nothing where there is none."""
    if path.is_symlink() or path.is_file():
        disk.remove(path)
    elif path.is_dir():
        for each in path.iterdir():
            clear(each)
        disk.remove_folder(path)
    elif os.path.lexists(path):
        disk.remove(path)
