"""What open_clip 3.3.0 makes of each of its configs, and the tags of released weights that it names."""

import json
import lzma
from importlib.metadata import distribution
from pathlib import Path

from shared_case import TESTS

_FOLDER = Path(distribution("open_clip_torch").locate_file("open_clip/model_configs"))
CONFIGS = {path.stem: json.loads(path.read_text()) for path in sorted(_FOLDER.glob("*.json"))}
# of each config `params`, `image_size`, `tags` (each with its repository, pixels and GELU), `tensors` (name: shape)
WHEEL = json.loads(lzma.decompress((TESTS / "golden" / "open_clip_wheel.json.xz").read_bytes()))


def pairs():
    """`(config, tag, what the wheel says of the tag)` of all released weights."""
    for config, made in WHEEL.items():
        for tag, said in made["tags"].items():
            yield config, tag, said


def config_of(name, tag=None) -> dict:
    """Content of `open_clip_config.json`, as open_clip writes it of a config or of the weights of a tag."""
    said = WHEEL[name]["tags"][tag] if tag else {}
    steps = {key: said[key] for key in ("mean", "std", "interpolation", "resize_mode") if key in said}
    quick = {"quick_gelu": True} if said.get("quick_gelu") else {}
    return {"model_cfg": CONFIGS[name] | quick, "preprocess_cfg": steps}


class Shapes(dict):
    """Name -> shape of tensors, in the place of a file."""

    duplicates = ()

    def shape(self, name):
        return tuple(self[name])

    def dtype(self, name):
        return "F32"

    def holds_floats(self, name):
        return True
