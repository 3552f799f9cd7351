"""Fingerprints of files, by which the parts of a model know each other."""

import hashlib
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from kzoo.files.layouts import is_within
from kzoo.files.opening import check_pointer

BLOCK = 2**20  # bytes that have a checksum
READ = 8 * BLOCK  # bytes at a time: each costs a thread one wait for the interpreter, which others hold


class Fingerprint:
    """Of a file that comes in pieces: the sha256 of its checksums (crc32), one for each block.

    It finds what was mixed up or damaged, at a quarter of the time of a sha256 of all bytes. It is no proof against
    somebody who makes another file for it.

    Example:
        >>> found = Fingerprint()
        >>> found.update(b"weights")
        >>> found.hexdigest()[:12]
    """

    def __init__(self):
        self._sums, self._crc, self._room = hashlib.sha256(), 0, BLOCK

    def update(self, piece) -> None:
        """Take more bytes, an object with a buffer of them."""
        piece = memoryview(piece)
        while len(piece):
            part, piece = piece[: self._room], piece[self._room :]
            self._crc, self._room = zlib.crc32(part, self._crc), self._room - len(part)
            if not self._room:
                self._close()

    def hexdigest(self) -> str:
        """The fingerprint, 64 hexadecimal digits; nothing can be added afterwards."""
        if self._room < BLOCK:
            self._close()
        return self._sums.hexdigest()

    def _close(self):
        self._sums.update(self._crc.to_bytes(4, "big"))
        self._crc, self._room = 0, BLOCK


def fingerprint_of(path) -> str:
    """The fingerprint of a file."""
    found, block = Fingerprint(), memoryview(bytearray(READ))
    with open(path, "rb", buffering=0) as file:
        while count := file.readinto(block):
            found.update(block[:count])
    return found.hexdigest()


class Fingerprints:
    """Around the reading of files: they must be the ones that were saved together, which is found out meanwhile.

    A thread reads the files once more beside what is done with them, so that it costs little time on a machine with
    more than one core. Where the reading itself stops with an error, a foreign file is the better explanation of it.

    Args:
        folder: path.
        recorded: dict of names of files in it -> fingerprint.
        record: the file that has this record, for the sentence.

    Raises:
        ValueError: a record that is none; on leaving, a file that is another one than was saved, or is not there.

    Example:
        >>> with Fingerprints(folder, {"model.safetensors": "9f86d0..."}, "config.json"):
        ...     fill(model, folder)
    """

    def __init__(self, folder, recorded, record):
        known = isinstance(recorded, dict) and all(isinstance(each, str) for each in recorded.values())
        if not known or not all(map(is_within, recorded)):
            raise ValueError(
                f"{Path(folder) / record} has fingerprints that are no names of files with 64 digits "
                "each; save it anew, or open it as it is with verify=False."
            )
        self.folder, self.recorded, self.record = Path(folder), recorded, record
        self._thread = ThreadPoolExecutor(1)

    def __enter__(self) -> "Fingerprints":
        paths = {name: self.folder / name for name in self.recorded}
        self._found = {
            name: self._thread.submit(fingerprint_of, path) for name, path in paths.items() if path.is_file()
        }
        return self

    def __exit__(self, kind, error, trace) -> None:
        if kind is not None and not issubclass(kind, Exception):
            self._thread.shutdown(wait=False, cancel_futures=True)
            return
        with self._thread:
            for name in self.recorded.keys() - self._found.keys() if kind is None else ():
                raise ValueError(f"{self.folder} lacks {name}, which {self.record} was saved with.")
            for name, found in self._found.items():
                if found.result() != self.recorded[name]:
                    check_pointer(self.folder / name)
                    raise ValueError(
                        f"{self.folder / name} is not the file that {self.record} was saved with: its fingerprint is "
                        f"{found.result()[:12]}..., but {self.recorded[name][:12]}... is recorded; put the "
                        "original back, or open it as it is with verify=False."
                    ) from error
