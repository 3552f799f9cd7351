"""The tensors of a checkpoint on disk, read one at a time: safetensors and npz, never a pickle."""

import json
import math
import re
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open

from kzoo.types import Array

PICKLES = ("*.bin", "*.pt", "*.pth", "*.ckpt", "*.pkl", "*.msgpack")
OPENED = (".safetensors", ".npz", ".h5", ".json", ".txt", ".gz", ".model")  # endings of files that are ever opened
PREFIX = re.compile(r"^(module\.|params/)")  # what torch's data parallelism and flax put in front of every name
ENDINGS = ("safetensors", "safetensors.index.json")  # of weights, by default
RELEASE = 2**25  # bytes after which a mapped file is mapped anew, so that what was read counts as memory no longer


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

    def read(self, name) -> Array:
        """A tensor as a numpy array, half precision as float32."""
        reader, stored = self._places[name]
        array = reader.read(stored)
        return array.astype("float32") if array.dtype.kind in "fV" and array.dtype.itemsize < 4 else array

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
        pickles = sorted(path.name for pattern in PICKLES for path in self.folder.glob(pattern))
        advice = (
            f"it holds {', '.join(pickles)}, which can run code when opened and is never read; convert it to "
            "safetensors in a place you trust."
            if pickles
            else "download the weights into it, or build the model untrained with load_weights=False."
        )
        raise FileNotFoundError(f"{self.folder} has no {stem}.{endings[0]}: {advice}")

    def _shards(self, index):
        try:
            names = sorted(set(json.loads(index.read_text("utf-8"))["weight_map"].values()))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"{index} is no index of shards: {error!r}.") from error
        outside = [name for name in names if Path(name).name != name or not name.endswith(".safetensors")]
        if outside:
            raise ValueError(
                f"{index} names {outside[0]}, which is no safetensors file beside it; nothing else is opened."
            )
        missing = [name for name in names if not (self.folder / name).is_file()]
        if missing:
            raise FileNotFoundError(f"{self.folder} lacks {', '.join(missing)}, which {index.name} lists.")
        return [self.folder / name for name in names]


def has_weights(folder, stem, endings=ENDINGS) -> bool:
    """Whether a folder holds weights of this name in a form that is read."""
    return any(path.is_file() for ending in endings for path in folder.glob(f"{stem}.{ending}"))


class Safetensors:
    """One safetensors file: `shapes` by name, `read`."""

    def __init__(self, path):
        self.path, self._read = path, 0
        try:
            self._file = safe_open(path, framework="numpy")
            self.shapes = {name: tuple(self._file.get_slice(name).get_shape()) for name in self._file.keys()}
        except (SafetensorError, OSError) as error:
            raise ValueError(f"{path} cannot be read as safetensors, is it whole? ({error})") from error

    def read(self, name) -> Array:
        array = self._file.get_tensor(name)
        self._read += array.nbytes
        if self._read > RELEASE:
            self._file, self._read = safe_open(self.path, framework="numpy"), 0
        return array


class Arrays:
    """One npz file: `shapes` by name, `read`. Arrays of Python objects, which are pickles, are refused."""

    def __init__(self, path):
        self.path, self.shapes, self._dtypes = path, {}, {}
        try:
            self._file = np.load(path, allow_pickle=False)
            with zipfile.ZipFile(path) as archive:
                for member in archive.infolist():
                    self._add(archive, member)
        except (ValueError, KeyError, OSError, EOFError, zipfile.BadZipFile) as error:
            raise ValueError(f"{path} cannot be read as npz, is it whole? ({error})") from error

    def _add(self, archive, member):
        with archive.open(member) as file:
            version = np.lib.format.read_magic(file)
            header = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
            shape, _, dtype = header[version](file)
            if dtype.hasobject:
                raise ValueError(f"{member.filename} holds Python objects, which are pickles")
            if file.tell() + math.prod(shape) * dtype.itemsize != member.file_size:
                raise ValueError(f"{member.filename} says {shape} of {dtype}, which is not what it holds")
        self.shapes[member.filename.removesuffix(".npy")] = shape

    def read(self, name) -> Array:
        try:
            return self._file[name]
        except (ValueError, OSError, EOFError, zipfile.BadZipFile, zlib.error) as error:
            raise ValueError(f"{name} in {self.path} cannot be read, is the file whole? ({error})") from error


def check_links(folder, names=()) -> None:
    """Stops where a file that would be opened is a link that leaves the folder, or lies behind one.

    In the hub's cache a snapshot is a folder of links into the blobs of the same repository, which is as far as
    they may lead.

    Args:
        folder: path.
        names: of files in folders below it, such as `"text_tower/config.json"`.
    """
    home = folder.resolve()
    if home.parent.name == "snapshots" and home.parent.parent.name.startswith("models--"):
        home = home.parent.parent
    links = [path for path in folder.iterdir() if path.is_symlink() and path.name.endswith(OPENED)]
    for path in [*links, *(folder / name for name in names)]:
        if not path.resolve().is_relative_to(home):
            raise ValueError(
                f"{path} is a link to {path.resolve()}, outside of the folder; nothing there is opened. Copy the file "
                "into the folder."
            )
