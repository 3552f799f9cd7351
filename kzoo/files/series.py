"""A series of folders, each written whole or not at all, of which the last few are kept: whenever a writer may be
killed, the newest that is there is whole."""

import json
import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from kzoo.files import disk
from kzoo.files.fingerprint import fingerprint_of
from kzoo.files.locks import locked
from kzoo.files.opening import check_inside, check_regular, home_of, within
from kzoo.files.schema import TEXT, Each, check
from kzoo.files.single import STAGING
from kzoo.files.strict_json import read_json
from kzoo.files.writing import clear

FINGERPRINTS = "fingerprints.json"
KEPT = "what was saved before is there still"


class Series:
    """Numbered folders within a folder.

    Args:
        folder: path, made by `open`.
        name: what each is called, before its number.
        keep: how many are kept.

    Example:
        >>> series = Series("run", "checkpoint", keep=2)
        >>> with series.open():
        ...     series.add(lambda place: disk.write(place / "state.json", b"{}"))
        ...     series.numbers()
        [1]
    """

    def __init__(self, folder, name, keep):
        self.folder, self.keep = Path(folder), keep
        self.name, self._named = name, re.compile(rf"{re.escape(name)}-(\d{{6,15}})")

    @contextmanager
    def open(self) -> Iterator:
        """Around all writing: the folder is there, can be written, and no other process writes into it.

        Raises:
            BlockingIOError: another process does.
            OSError: it cannot be written.
        """
        with disk.in_words(self.folder):
            for place in reversed((self.folder, *self.folder.absolute().parents)):
                if os.path.lexists(place) and not place.is_dir():
                    raise NotADirectoryError(f"{self.folder} cannot be a folder: {place} is a file; take another name.")
                if not place.is_dir():
                    with suppress(FileExistsError):  # made by another process, meanwhile
                        disk.make_folder(place)
        with locked(self.folder):
            self._sweep()
            with disk.in_words(self.folder):
                disk.write(self.folder / STAGING, b"\0")
                disk.remove(self.folder / STAGING)
            yield

    def numbers(self) -> list[int]:
        """Numbers of the folders that are there, the oldest first."""
        if not self.folder.is_dir():
            return []
        found = [self._named.fullmatch(each.name) for each in self.folder.iterdir() if each.is_dir()]
        return sorted(int(each[1]) for each in found if each)

    def path(self, number) -> Path:
        return self.folder / f"{self.name}-{number:06d}"

    def add(self, write: Callable) -> int:
        """Write the next one, and remove what is older than those that are kept; called within `open`.

        Args:
            write: function of the path of an empty folder, which fills it with files.

        Returns:
            int, its number.

        Raises:
            OSError: the disk takes no more or allows it not; nothing is changed then.
        """
        numbers, staging = self.numbers(), self.folder / STAGING
        number = numbers[-1] + 1 if numbers else 1
        with disk.in_words(self.folder, KEPT):
            try:
                clear(staging)
                disk.make_folder(staging)
                write(staging)
                found = {each.name: fingerprint_of(each) for each in sorted(staging.iterdir())}
                disk.write(staging / FINGERPRINTS, json.dumps(found, indent=1).encode())
                for each in (*staging.rglob("*"), staging):
                    disk.sync(each)
                disk.rename(staging, self.path(number))
            except BaseException:
                with suppress(OSError):  # of a disk that allows nothing any more; the next writer sweeps it
                    clear(staging)
                raise
            disk.sync(self.folder)
            for old in numbers[: max(0, len(numbers) + 1 - self.keep)]:
                self.remove(old)
        return number

    def remove(self, number) -> None:
        """Remove one, for whoever looks at once."""
        disk.rename(self.path(number), self.folder / STAGING)
        self._sweep()

    def check(self, number) -> None:
        """Stops unless each file of a folder is the one that was written.

        Raises:
            ValueError: a file that is cut short, altered or not there.
        """
        folder = self.path(number)
        if not os.path.lexists(folder / FINGERPRINTS):
            raise ValueError(f"{folder} lacks {FINGERPRINTS}")
        check_inside(folder / FINGERPRINTS, home_of(folder))
        recorded = read_json(folder / FINGERPRINTS)
        check(recorded, Each(TEXT), folder / FINGERPRINTS)
        for name, fingerprint in recorded.items():
            path = within(folder, name, FINGERPRINTS)
            if not os.path.lexists(path):
                raise ValueError(f"{folder} lacks {name}")
            check_regular(path)
            if fingerprint_of(path) != fingerprint:
                raise ValueError(f"{path} is not as it was written")

    def _sweep(self):
        with disk.in_words(self.folder):
            clear(self.folder / STAGING)
