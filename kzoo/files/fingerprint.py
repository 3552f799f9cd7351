"""Fingerprints of files, by which the parts of a model know each other."""

import hashlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from kzoo.files.layouts import is_within

BLOCK = 2**23  # bytes at a time: each costs a thread one wait for the interpreter, which others hold


def sha256_of(path) -> str:
    """The sha256 of a file, as hexadecimal digits."""
    digest, block = hashlib.sha256(), memoryview(bytearray(BLOCK))
    with open(path, "rb", buffering=0) as file:
        while count := file.readinto(block):
            digest.update(block[:count])
    return digest.hexdigest()


class Fingerprints:
    """Around the reading of files: they must be the ones that were saved together, which is found out meanwhile.

    A thread reads the files once more beside what is done with them, so that it costs little time on a machine with
    more than one core. Where the reading itself stops with an error, a foreign file is the better explanation of it.

    Args:
        folder: path.
        recorded: dict of names of files in it -> sha256.
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
                f"{Path(folder) / record} has fingerprints that are no names of files with their sha256; save it anew, "
                "or open it as it is with verify=False."
            )
        self.folder, self.recorded, self.record = Path(folder), recorded, record
        self._thread = ThreadPoolExecutor(1)

    def __enter__(self) -> "Fingerprints":
        paths = {name: self.folder / name for name in self.recorded}
        self._found = {name: self._thread.submit(sha256_of, path) for name, path in paths.items() if path.is_file()}
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
                    raise ValueError(
                        f"{self.folder / name} is not the file that {self.record} was saved with: its fingerprint is "
                        f"{found.result()[:12]}..., but {self.recorded[name][:12]}... is recorded; put the "
                        "original back, or open it as it is with verify=False."
                    ) from error
