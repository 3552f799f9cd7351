"""Fingerprints of files, by which the parts of a model know each other."""

import hashlib
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from kzoo.files.layouts import is_within
from kzoo.files.opening import check_pointer
from kzoo.files.words import on_one_line
from kzoo.types import Array

BLOCK = 2**20  # bytes of a file that have a checksum
READ = 8 * BLOCK  # bytes at a time: each costs a thread one wait for the interpreter, which others hold
ROWS, COLUMNS = 128, 1021  # words of a table that is summed: 1 MB, which a processor keeps at hand between the two sums
OF_TENSORS = "tensors:"  # how the fingerprint of tensors begins; that of a file has its 64 digits alone


def fingerprint_of(path) -> str:
    """The fingerprint of a file: the sha256 of its checksums (crc32), one for each block.

    It finds what was mixed up or damaged, at a quarter of the time of a sha256 of all bytes. It is no proof against
    somebody who makes another file for it.
    """
    sums, block = hashlib.sha256(), memoryview(bytearray(READ))
    with open(path, "rb") as file:
        while count := file.readinto(block):  # buffered: it ends early only where the file ends
            for start in range(0, count, BLOCK):
                sums.update(zlib.crc32(block[start : min(start + BLOCK, count)]).to_bytes(4, "big"))
    return sums.hexdigest()


class TensorFingerprint:
    """Of a file of tensors, each taken as it is written or read, in any order: nothing is read once more for it.

    It is the sha256 of the file's header and of sums of each tensor: its bytes are words of eight in tables, of which
    each row and each column is summed up, modulo 2^64. A wrong word is found for certain, other tensors and other
    orders as surely as by a checksum, in a third of the time of one. As with that of a file, somebody can make another
    file for it.

    Args:
        header: bytes.

    Example:
        >>> found = TensorFingerprint(b"{}")
        >>> found.add("kernel", np.ones((3, 4), "float32"))
        >>> found.text()[:20]
        'tensors:5b1c3a1d6a7e'
    """

    def __init__(self, header):
        self._header, self._sums = hashlib.sha256(header).digest(), {}

    def add(self, name, array) -> None:
        """Take a tensor."""
        self._sums[name] = sums_of(bytes_of(array))

    def __contains__(self, name) -> bool:
        return name in self._sums

    def text(self) -> str:
        """The fingerprint, once it has all tensors."""
        whole = hashlib.sha256(self._header)
        for name in sorted(self._sums):
            whole.update(self._sums[name])
        return OF_TENSORS + whole.hexdigest()


def bytes_of(array) -> Array:
    """The content of an array, in the order of C and little-endian, without a copy where it is so already."""
    array = np.asarray(array, order="C")
    return array.astype(array.dtype.newbyteorder("<"), copy=False).reshape(-1).view("uint8")


def sums_of(content) -> bytes:
    """What `TensorFingerprint` keeps of a tensor's bytes."""
    found, end = hashlib.sha256(), len(content) // (8 * COLUMNS) * 8 * COLUMNS
    rows = content[:end].view("<u8").reshape(-1, COLUMNS)
    for start in range(0, len(rows), ROWS):
        table = rows[start : start + ROWS]
        for axis in (0, 1):
            found.update(np.add.reduce(table, axis=axis))
    found.update(content[end:])  # less than a row
    return found.digest()


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
                check_found(self.folder / name, found.result(), self.recorded[name], self.record, error)


def check_found(path, found, recorded, record, error=None) -> None:
    """Stops where a file has another fingerprint than was recorded.

    Args:
        path: of the file.
        found: its fingerprint.
        recorded: what it should be.
        record: the file that says so, for the sentence.
        error: with which the reading has stopped, of which a foreign file is the better explanation.

    Raises:
        ValueError: they differ.
    """
    if found != recorded:
        check_pointer(path)
        found, recorded = (on_one_line(each.removeprefix(OF_TENSORS))[:12] for each in (found, recorded))
        raise ValueError(
            f"{path} is not the file that {record} was saved with: its fingerprint is {found}..., but {recorded}... "
            "is recorded; put the original back, or open it as it is with verify=False."
        ) from error
