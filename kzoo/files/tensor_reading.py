"""A safetensors file, read one tensor at a time."""

import math
import os
import weakref

import numpy as np
from safetensors import SafetensorError, safe_open

from kzoo.files import limits
from kzoo.files.opening import as_text, check_pointer, open_regular
from kzoo.files.strict_json import parse_json
from kzoo.files.tensor_file import DTYPES
from kzoo.files.words import check_name, said_by
from kzoo.types import Array

NAMES = {kind: name for name, kind in DTYPES.items()}  # the format's name of a dtype -> NumPy's


class Safetensors:
    """One safetensors file: `header` as it stands there, `shapes` and `dtypes` by name, `read`.

    It stays open: what takes its place on the disk meanwhile is another file.
    """

    def __init__(self, path):
        _check_header(path)
        self.path = path
        try:
            safe_open(path, framework="numpy")
        except (SafetensorError, OSError) as error:
            check_pointer(path)
            raise ValueError(f"{path} cannot be read as safetensors, is it whole? ({said_by(error)})") from error
        self._file = open_regular(path)
        weakref.finalize(self, self._file.close)
        self.header, self._entries = _read_header(self._file, path)
        self._start = self._file.tell()
        self.shapes = {name: tuple(entry["shape"]) for name, entry in self._entries.items()}
        self.dtypes = {name: entry["dtype"] for name, entry in self._entries.items()}

    def count(self) -> int:
        """How many numbers it holds."""
        return sum(map(math.prod, self.shapes.values()))

    def holds_floats(self, name) -> bool:
        """Whether a tensor is of floats, by the header."""
        return self.dtypes[name].startswith(("F", "BF"))

    def read(self, name, memory=np.empty) -> Array:
        """A tensor, straight from the file into memory of its own; the library would map the file, and copy from there.

        Args:
            name: of the tensor.
            memory: function of a shape and a dtype that gives an array to read into.

        Raises:
            ValueError: a dtype that NumPy has not, a file that was cut short.
        """
        try:
            dtype = np.dtype(NAMES.get(self.dtypes[name], self.dtypes[name]))  # bfloat16 is there where ml_dtypes is
            first, last = self._entries[name]["data_offsets"]
            if math.prod(self.shapes[name]) * dtype.itemsize != last - first:
                raise ValueError("it has another size than its shape says")
            array = memory(self.shapes[name], dtype)
            self._file.seek(self._start + first)
            if self._file.readinto(array.reshape(-1).view("uint8")) != array.nbytes:
                raise ValueError("the file ends before it does")
        except (OSError, TypeError, ValueError) as error:  # TypeError: of dtypes that NumPy has not
            raise ValueError(f"{name} in {self.path} cannot be read ({said_by(error)}).") from error
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


def _read_header(file, path):
    """The header of a file that the library has opened, as bytes, and the entry of each tensor in it.

    Stops at a tensor that stands there twice, of which the library takes the last, and at a name that is none.
    """
    content = file.read(int.from_bytes(file.read(8), "little"))
    header = parse_json(as_text(content, path), f"the header of {path}")
    try:
        for name in header:
            check_name(name)
    except ValueError as error:
        raise ValueError(f"{path} cannot be read as safetensors: {error}.") from error
    header.pop("__metadata__", None)
    return content, dict(sorted(header.items()))
