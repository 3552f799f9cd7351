"""Weights in files that can run code when opened: never read here, but their own library writes them as safetensors."""

import re
from fnmatch import fnmatch

from kzoo.files.strict_json import read_object

PICKLES = ("*.bin", "*.pt", "*.pth", "*.ckpt", "*.pkl", "*.msgpack")
_OF_TORCH = ("*.bin", "*.pt", "*.pth", "*.ckpt")
_PLAIN = re.compile(r"[\w./ ~+-]+")  # what may stand in a line that somebody will run
# by the name, without ending, of the file that is looked for
_COMMANDS = {
    "model": "from transformers import {kind}; {kind}.from_pretrained('{folder}').save_pretrained('{folder}')",
    "open_clip_model": "import torch, safetensors.torch as s; "
    "d = torch.load('{folder}/{file}', 'cpu', weights_only=True); "
    "s.save_file({{k: v.contiguous().clone() for k, v in d.get('state_dict', d).items()}}, "
    "'{folder}/open_clip_model.safetensors')",
}


def among(names) -> list[str]:
    """Those of some names of files that are pickles, in their order."""
    return sorted(name for name in names if any(fnmatch(name, pattern) for pattern in PICKLES))


def way_out(stem, files, folder, repo=None) -> str:
    """What is to be done with pickles: the line for a shell that has their own library write safetensors.

    Args:
        stem: name, without ending, of the file that is looked for, which tells the library.
        files: names of the pickles.
        folder: path of the folder with the config beside them.
        repo: `"owner/name"` on the hub that they still lie in.
    """
    of_torch = [
        name for name in files if any(fnmatch(name, pattern) for pattern in _OF_TORCH) and _PLAIN.fullmatch(name)
    ]
    if stem not in _COMMANDS or not of_torch:
        return "convert it to safetensors with its own library, in a place you trust"
    place = repo.rpartition("/")[2] if repo else str(folder)
    place = place if _PLAIN.fullmatch(place) else "FOLDER"
    code = _COMMANDS[stem].format(kind=_class_of(folder), folder=place, file=of_torch[0])
    fetched = f"hf download {repo} --local-dir {place} && " if repo else ""
    opened = ", which then opens," if repo else ""
    return f"where you trust it, its own library writes safetensors{' into ' + place + opened if repo else ''} by: " + (
        f'{fetched}python -c "{code}"'
    )


def _class_of(folder):
    """The class of transformers that a config names."""
    path = folder / "config.json"
    named = read_object(path).get("architectures") if path.exists() else None
    first = named[0] if isinstance(named, list) and named else None
    return first if isinstance(first, str) and first.isascii() and first.isidentifier() else "AutoModel"
