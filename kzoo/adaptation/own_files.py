"""Adapters that no other library has a file for, written and read."""

import json
from pathlib import Path
from typing import NoReturn

from keras import ops

from kzoo.adaptation.adapter import Adapter, add
from kzoo.adaptation.bottleneck import BottleneckAdapter
from kzoo.adaptation.prefix_tuning import PrefixTuning
from kzoo.files import disk
from kzoo.files.tensor_file import write_tensors
from kzoo.files.words import on_one_line, said_by
from kzoo.files.writing import writing
from kzoo.layers.adapted import KINDS, takes, updates_of
from kzoo.layers.places import place_of
from kzoo.paths import layers
from kzoo.weights import own_adapter, peft
from kzoo.weights.tensors import TensorFiles

CONFIGS: dict[str, type[Adapter]] = {each.kind: each for each in (BottleneckAdapter, PrefixTuning)}


def write_own(model, folder, told, base, overwrite) -> None:
    """Write an adapter that `kzoo.layers.adapted.described` told of; `base` is the repository of the model, or None."""
    known = {path: layer for path, layer, _ in layers(model)}
    content = own_adapter.write_config(told["kind"], told["config"], told["layers"], base)

    def give(put):
        for path in told["layers"]:
            for weight in updates_of(known[path])[told["name"]].trained():
                put(f"{path}.{weight.name}", ops.convert_to_numpy(ops.cast(weight, "float32")))

    with writing(folder, "adapter", overwrite) as place:
        sane = lambda tensor, array: peft.check_sane(array, f"{tensor} of the adapter")  # noqa: E731
        write_tensors(place / f"{peft.STEM}.safetensors", give, {"format": "kzoo"}, sane)
        disk.write(place / peft.CONFIG_FILE, (json.dumps(content, indent=2) + "\n").encode())


def read_own(model, folder, name, content, path) -> list[str]:
    """Add an adapter of such a folder to a model, as `load_adapter` does.

    Args:
        model: without one of that name.
        folder: path.
        name: of the adapter in the model.
        content: of its config, an object.
        path: of that.

    Raises:
        ValueError: an adapter of another model, or files that are none; nothing is changed.
    """
    own_adapter.check_config(content, path)
    try:
        config = CONFIGS[content[own_adapter.KIND]](**content["config"])
    except (TypeError, ValueError) as error:
        raise ValueError(f"{path} describes no adapter: {said_by(error)}.") from error
    known, paths = {each: layer for each, layer, _ in layers(model)}, list(dict.fromkeys(content["layers"]))
    nowhere = next((each for each in paths if not takes(known.get(each), config.kind, config.config())), None)
    if nowhere is not None:
        raise ValueError(
            f"{folder} is the adapter of another model: this one has no layer {on_one_line(nowhere)[:100]} for it."
        )
    configs = config.configs(model, paths)
    config.check({each: known[each] for each in paths}, configs)
    tensors = TensorFiles(Path(folder), peft.STEM, endings=("safetensors",))
    alike = KINDS[config.kind](**config.config())  # of whose weights none is made
    for each in paths:
        for weight, shape in alike.shapes(place_of(known[each])).items():
            tensor = f"{each}.{weight}"
            if tensor in tensors and tensors.shape(tensor) != shape:
                raise ValueError(f"{tensor} in {folder} has shape {tensors.shape(tensor)}, but {shape} is expected.")
    arrays = own_adapter.arrays_of(tensors, content, folder, _stop)
    add(model, name, configs, config.kind)
    for each in paths:
        for weight in updates_of(known[each])[name].trained():
            weight.assign(arrays[f"{each}.{weight.name}"])
    return paths


def _stop(sentence) -> NoReturn:
    raise ValueError(sentence)
