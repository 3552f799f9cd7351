"""The tensors of a checkpoint on disk, read one at a time. Safetensors only, never a pickle."""

import json
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open

PICKLES = ("*.bin", "*.pt", "*.pth", "*.ckpt", "*.pkl")
PREFIX = "module."  # what torch's data parallelism puts in front of every name


class TensorFiles:
    """Named tensors of one safetensors file, or of the shards that an index lists.

    Files are mapped into memory: a tensor is read when it is asked for, and nothing is held twice.

    Args:
        folder: path of the checkpoint.
        stem: name of the file without its ending, such as `"model"` or `"open_clip_model"`.

    Raises:
        FileNotFoundError: the folder has no such file; the sentence says if it has pickles instead.
        ValueError: a file that is cut short, an index that names files elsewhere or that are missing,
            two tensors of one name.

    Example:
        >>> tensors = TensorFiles("clip-vit-base-patch32", "model")
        >>> tensors.read("logit_scale")
        array(4.6052, dtype=float32)
    """

    def __init__(self, folder, stem):
        self.folder = Path(folder)
        self._files = {}  # name -> (open file, name in it)
        for path in self._paths(stem):
            self._open(path)

    def __iter__(self):
        return iter(self._files)

    def __contains__(self, name):
        return name in self._files

    def __len__(self):
        return len(self._files)

    def read(self, name):
        """A tensor as a numpy array, half precision as float32."""
        file, stored = self._files[name]
        array = file.get_tensor(stored)
        return array.astype("float32") if array.dtype.kind in "fV" and array.dtype != np.float64 else array

    def _paths(self, stem):
        single, index = (self.folder / f"{stem}.{ending}" for ending in ("safetensors", "safetensors.index.json"))
        if single.is_file():
            return [single]
        if not index.is_file():
            pickles = sorted(path.name for pattern in PICKLES for path in self.folder.glob(pattern))
            advice = (
                f"it holds {', '.join(pickles)}, which can run code when opened and is never read; convert it to "
                "safetensors in a place you trust."
                if pickles
                else "download the weights into it, or build the model untrained with load_weights=False."
            )
            raise FileNotFoundError(f"{self.folder} has no {single.name}: {advice}")
        return self._shards(index)

    def _shards(self, index):
        try:
            names = sorted(set(json.loads(index.read_text("utf-8"))["weight_map"].values()))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"{index} is no index of shards: {error!r}.") from error
        outside = [name for name in names if Path(name).name != name]
        if outside:
            raise ValueError(f"{index} names {outside[0]}, which is not a file beside it; nothing else is opened.")
        missing = [name for name in names if not (self.folder / name).is_file()]
        if missing:
            raise FileNotFoundError(f"{self.folder} lacks {', '.join(missing)}, which {index.name} lists.")
        return [self.folder / name for name in names]

    def _open(self, path):
        try:
            file = safe_open(path, framework="numpy")
        except (SafetensorError, OSError) as error:
            raise ValueError(f"{path} cannot be read as safetensors, is it whole? ({error})") from error
        for stored in file.keys():
            name = stored.removeprefix(PREFIX)
            if name in self._files:
                raise ValueError(f"{path} holds {name}, which was there already; a checkpoint has each tensor once.")
            self._files[name] = (file, stored)
