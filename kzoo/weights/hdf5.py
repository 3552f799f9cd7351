"""What a `.weights.h5` of Keras holds, looked at before Keras reads it: datasets, their sizes, and no way out."""

import math

import numpy as np

from kzoo.files import limits
from kzoo.files.opening import check_pointer, check_regular, check_unpacked
from kzoo.files.words import check_name, on_one_line, said_by
from kzoo.types import Array


class Hdf5:
    """The datasets of one file.

    Args:
        path: of the file.
        member: what is read of it, open in binary, where that is a part of the file alone, as in a `.keras`.

    Attributes:
        shapes: path of a dataset -> its shape.
        dtypes: path of a dataset -> its dtype.

    Raises:
        ValueError: no HDF5, links, datasets that lie in other files or claim far more than the file holds.

    Example:
        >>> Hdf5("my_clip/model.weights.h5").count()
        84161
    """

    def __init__(self, path, member=None):
        check_regular(path)
        self.path, self.shapes, self.dtypes = path, {}, {}
        import h5py

        try:
            with h5py.File(path if member is None else member, "r", locking=False) as file:
                # h5py does not pass on what is raised within its walk through what is no file of the disk
                problem = file.visititems_links(_problem_of_link) or file.visititems(self._problem)
                if problem is not None:
                    raise problem
        except _Refused as error:
            raise ValueError(f"{path} {on_one_line(error)}.") from error
        except Exception as error:  # h5py raises whatever a damaged file makes it stumble over
            check_pointer(path)
            raise ValueError(f"{path} cannot be read as HDF5, is it whole? ({said_by(error)})") from error
        check_unpacked(sum(math.prod(shape) * self.dtypes[name].itemsize for name, shape in self.shapes.items()), path)

    def count(self) -> int:
        """How many numbers it holds."""
        return sum(map(math.prod, self.shapes.values()))

    def read(self, name) -> Array:
        """A dataset as a numpy array."""
        import h5py

        try:
            with h5py.File(self.path, "r", locking=False) as file:
                return file[name][()]
        except Exception as error:  # as above
            raise ValueError(f"{name} in {self.path} cannot be read ({said_by(error)}).") from error

    def holds_floats(self, name) -> bool:
        """Whether a dataset is of floats."""
        return self.dtypes[name].kind in "fV"

    def _problem(self, name, item):
        try:
            self._dataset(name, item)
        except ValueError as error:
            return error
        return None

    def _dataset(self, name, item):
        if not hasattr(item, "dtype") or not hasattr(item, "id"):
            return
        check_name(name)
        if not hasattr(item, "shape"):
            raise _Refused(f"holds a named type at {name}, which is no weight")
        if item.external or item.is_virtual:
            raise _Refused(f"has the numbers of {name} in another file, which is not opened")
        dtype, shape = item.dtype, item.shape
        if shape is None or dtype.kind not in "fiubV" or (dtype.kind == "V" and dtype.itemsize > 2):
            raise _Refused(f"holds {name} of {dtype}, but weights are numbers")
        stored, declared = item.id.get_storage_size(), math.prod(shape) * dtype.itemsize
        packed = item.compression is not None or item.chunks is not None
        if declared > (max(limits.UNPACKED, limits.EXPANSION * stored) if packed else stored):
            raise _Refused(
                f"says that {name} is {shape} of {dtype}, {declared:,} bytes, but holds {stored:,} bytes of it"
            )
        self.shapes[name], self.dtypes[name] = tuple(shape), np.dtype(dtype)


class _Refused(ValueError):
    """What the file holds is readable, and not read."""


def _problem_of_link(name, link):
    if type(link).__name__ != "HardLink":
        return _Refused(f"holds a {type(link).__name__} at {name}; nothing that it leads to is read")
    return None
