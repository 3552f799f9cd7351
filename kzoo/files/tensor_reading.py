"""A safetensors file, read one tensor at a time."""

import math
import os

from safetensors import SafetensorError, safe_open

from kzoo.files import limits
from kzoo.files.opening import as_text, check_pointer, open_regular
from kzoo.files.strict_json import parse_json
from kzoo.files.words import check_name, said_by
from kzoo.types import Array

RELEASE = 2**25  # bytes after which a mapped file is mapped anew, so that what was read counts as memory no longer


class Safetensors:
    """One safetensors file: `header` as it stands there, `shapes` and `dtypes` by name, `read`."""

    def __init__(self, path):
        _check_header(path)
        self.path, self._read = path, 0
        try:
            self._file = safe_open(path, framework="numpy")
        except (SafetensorError, OSError) as error:
            check_pointer(path)
            raise ValueError(f"{path} cannot be read as safetensors, is it whole? ({said_by(error)})") from error
        self.header, entries = _read_header(path)
        self.shapes = {name: tuple(entry["shape"]) for name, entry in entries.items()}
        self.dtypes = {name: entry["dtype"] for name, entry in entries.items()}

    def count(self) -> int:
        """How many numbers it holds."""
        return sum(map(math.prod, self.shapes.values()))

    def holds_floats(self, name) -> bool:
        """Whether a tensor is of floats, by the header."""
        return self.dtypes[name].startswith(("F", "BF"))

    def read(self, name) -> Array:
        try:
            array = self._file.get_tensor(name)
        except (
            SafetensorError,
            OSError,
            TypeError,
            AttributeError,
        ) as error:  # the latter of dtypes that numpy has not
            raise ValueError(f"{name} in {self.path} cannot be read ({said_by(error)}).") from error
        self._read += array.nbytes
        if self._read > RELEASE:
            self._file, self._read = safe_open(self.path, framework="numpy"), 0
        return array


def _check_header(path):
    """Stops at a header that would take long to read, before the library reads it, too."""
    with open_regular(path) as file:
        size, held = int.from_bytes(file.read(8), "little"), os.fstat(file.fileno()).st_size
    if limits.HEADER < size <= held:  # else the file is not whole, which the library says
        raise ValueError(
            f"{path} has a header of {size:,} bytes, more than the {limits.HEADER:,} that are read; "
            "kzoo.files.limits.HEADER raises it."
        )


def _read_header(path):
    """The header of a file that the library has opened, as bytes, and the entry of each tensor in it.

    Stops at a tensor that stands there twice, of which the library takes the last, and at a name that is none.
    """
    with open_regular(path) as file:
        size = int.from_bytes(file.read(8), "little")
        content = file.read(size)
    header = parse_json(as_text(content, path), f"the header of {path}")
    try:
        for name in header:
            check_name(name)
    except ValueError as error:
        raise ValueError(f"{path} cannot be read as safetensors: {error}.") from error
    header.pop("__metadata__", None)
    return content, dict(sorted(header.items()))
