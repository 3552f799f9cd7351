"""Adapters that no other library has a file for: a config, and tensors by kzoo's own paths."""

import json
from pathlib import Path

from keras import ops

from kzoo.adaptation.adapter import Adapter, add
from kzoo.adaptation.bottleneck import BottleneckAdapter
from kzoo.adaptation.prefix_tuning import PrefixTuning
from kzoo.files import disk
from kzoo.files.numbers import check_finite
from kzoo.files.schema import OBJECT, TEXT, Items, Object, check, choice, shown
from kzoo.files.tensor_file import write_tensors
from kzoo.files.words import on_one_line, said_by
from kzoo.files.writing import writing
from kzoo.layers.adapted import KINDS, takes, updates_of
from kzoo.layers.places import place_of
from kzoo.paths import layers
from kzoo.weights import peft
from kzoo.weights.tensors import TensorFiles

KIND = "kzoo_adapter"  # in the config, and of no other library
CONFIGS: dict[str, type[Adapter]] = {each.kind: each for each in (BottleneckAdapter, PrefixTuning)}
FIELDS = Object({KIND: choice(*CONFIGS), "config": OBJECT, "layers": Items(TEXT)}, (KIND, "config", "layers"))


def write_own(model, folder, told, base, overwrite) -> None:
    """Write an adapter that `kzoo.layers.adapted.described` told of; `base` is the repository of the model, or None."""
    known = {path: layer for path, layer, _ in layers(model)}
    content = {KIND: told["kind"], "config": told["config"], "layers": told["layers"], "base_model_name_or_path": base}

    def give(put):
        for path in told["layers"]:
            for weight in updates_of(known[path])[told["name"]].trained():
                put(f"{path}.{weight.name}", ops.convert_to_numpy(ops.cast(weight, "float32")))

    with writing(folder, "adapter", overwrite) as place:
        finite = lambda tensor, array: check_finite(array, f"{tensor} of the adapter")  # noqa: E731
        write_tensors(place / f"{peft.STEM}.safetensors", give, {"format": "kzoo"}, finite)
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
    check(content, FIELDS, path)
    try:
        config = CONFIGS[content[KIND]](**content["config"])
    except (TypeError, ValueError) as error:
        raise ValueError(f"{path} describes no adapter: {said_by(error)}.") from error
    known, paths = {each: layer for each, layer, _ in layers(model)}, list(dict.fromkeys(content["layers"]))
    if not paths:
        raise ValueError(f"{path} names no layer.")
    nowhere = next((each for each in paths if not takes(known.get(each), config.kind, config.config())), None)
    if nowhere is not None:
        raise ValueError(
            f"{folder} is the adapter of another model: this one has no layer {on_one_line(nowhere)[:100]} for it."
        )
    configs = config.configs(model, paths)
    config.check({each: known[each] for each in paths}, configs)
    alike = KINDS[config.kind](**config.config())  # of whose weights none is made
    arrays = _arrays(Path(folder), {each: alike.shapes(place_of(known[each])) for each in paths})
    add(model, name, configs, config.kind)
    for each in paths:
        for weight in updates_of(known[each])[name].trained():
            weight.assign(arrays[f"{each}.{weight.name}"])
    return paths


def _arrays(folder, wanted):
    """Name -> array of all tensors that are wanted, layer -> name -> shape, and stops at others."""
    tensors = TensorFiles(folder, peft.STEM, endings=("safetensors",))
    shapes = {f"{layer}.{name}": shape for layer, own in wanted.items() for name, shape in own.items()}
    if lacking := sorted(shapes.keys() - set(tensors)):
        raise ValueError(f"{folder} lacks the tensor {lacking[0]}.")
    if more := sorted(set(tensors) - shapes.keys()):
        raise ValueError(f"{folder} has the tensor {on_one_line(more[0])[:100]}, which its config does not tell of.")
    arrays = {}
    for name, shape in shapes.items():
        if tensors.shape(name) != shape or not tensors.holds_floats(name):
            said = f"{tensors.dtype(name)} and shape {tensors.shape(name)}"
            raise ValueError(f"{name} in {folder} is of {said}, but floats of shape {shown(shape)} are expected.")
        arrays[name] = tensors.read(name)
        check_finite(arrays[name], f"{name} in {folder}")
    return arrays
