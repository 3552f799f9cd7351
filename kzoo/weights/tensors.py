"""The tensors of a checkpoint on disk, read one at a time: safetensors and npz, never a pickle."""

import math
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from kzoo.files import limits
from kzoo.files.numbers import check_finite
from kzoo.files.opening import OPENED, check_inside, check_unpacked, home_of, open_regular, within
from kzoo.files.strict_json import read_object
from kzoo.files.tensor_reading import Safetensors
from kzoo.files.words import check_name, on_one_line, said_by
from kzoo.types import Array
from kzoo.weights import other_files, pickles

PREFIX = re.compile(r"^(module\.|params/)")  # what torch's data parallelism and flax put in front of every name
ENDINGS = ("safetensors", "safetensors.index.json")  # of weights, by default


class TensorFiles:
    """Named tensors of one safetensors or npz file, or of the shards that an index lists.

    Files are mapped into memory or read in parts: a tensor is read when it is asked for, and nothing is held twice.

    Args:
        folder: path of the checkpoint.
        stem: name of the file without its ending, such as `"model"` or `"open_clip_model"`.
        renames: `(pattern, replacement)` of regular expressions: older spellings of names.
        endings: which of `ENDINGS` to look for.

    Attributes:
        duplicates: names that the files hold more than once.

    Raises:
        FileNotFoundError: the folder has no such file; the sentence says if it has pickles instead.
        ValueError: a file that is cut short, an index that names files elsewhere or that are missing.

    Example:
        >>> tensors = TensorFiles("clip-vit-base-patch32", "model")
        >>> tensors.read("logit_scale")
        array(4.6052, dtype=float32)
    """

    def __init__(self, folder, stem, renames=(), endings=ENDINGS):
        self.folder, self.renames = Path(folder), renames
        self.duplicates = []
        self._places = {}  # name -> (reader, name in its file)
        check_links(self.folder)
        for path in self._paths(stem, endings):
            reader = Arrays(path) if path.suffix == ".npz" else Safetensors(path)
            for stored in reader.shapes:
                self._add(stored, reader)

    def __iter__(self) -> Iterator:
        return iter(self._places)

    def __contains__(self, name) -> bool:
        return name in self._places

    def __len__(self) -> int:
        return len(self._places)

    def shape(self, name) -> tuple:
        """The shape of a tensor, without reading it."""
        reader, stored = self._places[name]
        return reader.shapes[stored]

    def holds_floats(self, name) -> bool:
        """Whether a tensor is of floats, without reading it."""
        reader, stored = self._places[name]
        return reader.holds_floats(stored)

    def dtype(self, name) -> str:
        """The dtype of a tensor as its file writes it, a string, without reading it."""
        reader, stored = self._places[name]
        return str(reader.dtypes[stored])

    def read(self, name, memory=np.empty) -> Array:
        """A tensor as a numpy array, half precision as float32.

        Args:
            name: of the tensor.
            memory: function of a shape and a dtype that gives an array to read into, where a file is not packed.

        Raises:
            ValueError: NaN or an infinity in it; a tensor that its file does not hold as its header says.
        """
        reader, stored = self._places[name]
        array = reader.read(stored, memory)
        array = array.astype("float32") if array.dtype.kind in "fV" and array.dtype.itemsize < 4 else array
        check_finite(array, f"{name} in {reader.path}")
        return array

    def _add(self, stored, reader):
        name = PREFIX.sub("", stored)
        for pattern, replacement in self.renames:
            name = re.sub(pattern, replacement, name)
        if name in self._places:
            self.duplicates.append(name)
        self._places[name] = (reader, stored)

    def _paths(self, stem, endings):
        found = sorted(path for ending in endings for path in self.folder.glob(f"{stem}.{ending}"))
        whole = [path for path in found if path.suffix != ".json"]
        if len(whole) > 1:
            raise ValueError(f"{self.folder} holds {' and '.join(path.name for path in whole)}; keep one of them.")
        if found:
            return whole or self._shards(found[0])
        held = pickles.among(path.name for path in self.folder.iterdir())
        told = other_files.told(other_files.names_in(self.folder))
        instead = f"it holds {told}; " if told else ""
        advice = (
            f"it holds {', '.join(held)}, which can run code when opened and is never read; "
            f"{pickles.way_out(stem, held, self.folder)}"
            if held
            else f"{instead}download the weights into it, or build the model untrained with load_weights=False."
        )
        raise FileNotFoundError(f"{self.folder} has no {stem}.{endings[0]}: {advice}")

    def _shards(self, index):
        names = shards_of(index)
        missing = [name for name in names if not (self.folder / name).is_file()]
        if missing:
            raise FileNotFoundError(f"{self.folder} lacks {', '.join(missing)}, which {index.name} lists.")
        return [self.folder / name for name in names]


def shards_of(index) -> list[str]:
    """Names of the shards that an index lists, all of them safetensors files beside it.

    Raises:
        ValueError: the file is no index, or names a file elsewhere.
    """
    listed = read_object(index, limits.INDEX).get("weight_map")
    if not isinstance(listed, dict) or not listed or not all(isinstance(name, str) for name in listed.values()):
        raise ValueError(f"{index} is no index of shards: its weight_map is no object of tensors and their files.")
    for name in sorted(set(listed.values())):
        if Path(name).name != name or not name.endswith(".safetensors") or not name.isprintable():
            raise ValueError(
                f"{index} names {on_one_line(name)[:200]}, which is no safetensors file beside it; nothing else is "
                "opened."
            )
        within(index.parent, name, index.name)
    return sorted(set(listed.values()))


def has_weights(folder, stem, endings=ENDINGS) -> bool:
    """Whether a folder holds weights of this name in a form that is read."""
    return any(path.is_file() for ending in endings for path in folder.glob(f"{stem}.{ending}"))


class Arrays:
    """One npz file: `shapes` and `dtypes` by name, `read`. Arrays of Python objects, which are pickles, are refused."""

    def __init__(self, path):
        self.path, self.shapes, self.dtypes, self._members = path, {}, {}, {}
        file = open_regular(path)
        try:
            self._file = zipfile.ZipFile(file)
            for member in self._file.infolist():
                self._add(self._file, member)
        except Exception as error:  # zipfile, zlib and numpy raise whatever a damaged file makes them stumble over
            file.close()
            raise ValueError(f"{path} cannot be read as npz, is it whole? ({said_by(error)})") from error
        check_unpacked(sum(member.file_size for member in self._members.values()), path)

    def holds_floats(self, name) -> bool:
        """Whether an array is of floats, by its header."""
        return self.dtypes[name].kind == "f"

    def _add(self, archive, member):
        name = member.filename.removesuffix(".npy")
        check_name(name)
        if name in self.shapes:
            raise ValueError(f"it holds {member.filename} twice")
        if member.file_size > max(limits.UNPACKED, limits.EXPANSION * member.compress_size):
            raise ValueError(
                f"{member.filename} unpacks to {member.file_size:,} bytes from {member.compress_size:,}; "
                "kzoo.files.limits.EXPANSION raises what is taken"
            )
        with archive.open(member) as file:
            version = np.lib.format.read_magic(file)
            header = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
            if version not in header:
                raise ValueError(f"{member.filename} is of version {version} of npy")
            shape, _, dtype = header[version](file)
            if dtype.hasobject:
                raise ValueError(f"{member.filename} holds Python objects, which are pickles")
            if file.tell() + math.prod(shape) * dtype.itemsize != member.file_size:
                raise ValueError(f"{member.filename} says {shape} of {dtype}, which is not what it holds")
        self.shapes[name], self.dtypes[name] = shape, dtype
        self._members[name] = member

    def read(self, name, memory=None) -> Array:
        try:
            with self._file.open(self._members[name]) as file:
                array = np.lib.format.read_array(file, allow_pickle=False)
            return array.astype(array.dtype.newbyteorder("="), copy=False)  # no backend takes the other order of bytes
        except Exception as error:  # as above
            raise ValueError(f"{name} in {self.path} cannot be read, is the file whole? ({said_by(error)})") from error


def check_links(folder, names=()) -> None:
    """Stops where a file that would be opened is a link that leaves the folder, or lies behind one.

    In the hub's cache a snapshot is a folder of links into the blobs of the same repository, which is as far as
    they may lead.

    Args:
        folder: path.
        names: of files in folders below it, such as `"text_tower/config.json"`.
    """
    home = home_of(folder)
    links = [path for path in folder.iterdir() if path.is_symlink() and path.name.endswith(OPENED)]
    for path in [*links, *(folder / name for name in names)]:
        check_inside(path, home)
