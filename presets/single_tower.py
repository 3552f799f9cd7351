"""From a folder to one tower of it."""

import logging
from pathlib import Path
from typing import Any, NamedTuple

from kzoo.files.strict_json import check_content
from kzoo.files.writing import readable
from kzoo.handed_over import check_not_traced
from kzoo.layers.initializers import filling
from kzoo.presets.build import TOWER, build_tower
from kzoo.presets.foreign import read_json, steps_of, weight_files
from kzoo.presets.loader import check_depth, from_hub, from_preset, unfilled_as_stored
from kzoo.presets.sizes import resampling, sized
from kzoo.types import Array
from kzoo.weights import TensorFiles, check_links, check_tensors, hub, load_tensors
from kzoo.weights.single_tower import CLASSES, class_of, head_names
from kzoo.weights.transformers_layout import CONFIG_FILE

logger = logging.getLogger("kzoo")
WEIGHTS = "model"  # the name, without ending, of the file of weights


class ClassHead(NamedTuple):
    """A linear layer of classes over the mean of a tower's patch tokens."""

    kernel: Array
    bias: Array
    labels: list[str]


class Alone:
    """A tower where a model is expected: under the name that it would have there."""

    def __init__(self, name, tower):
        self.weights = tower.weights
        self._towers = {name: tower}
        setattr(self, name, tower)

    def towers(self) -> dict:
        return self._towers


def open_tower(name, tower=None, load_weights=True, image_size=None, context_length=None, dtype=None) -> Any:
    """`kzoo.encoders.from_checkpoint`."""
    check_not_traced(f"the tower of {name}")
    folder = _folder(name, load_weights)
    kind = None if folder is None else _class_in(folder)
    if kind is None:
        return _of_a_model(name, tower, load_weights, image_size, context_length, dtype)
    config, single = read_json(folder / CONFIG_FILE), CLASSES[kind]
    if tower not in (None, single.tower.removesuffix(TOWER)):
        raise ValueError(f"{name} holds a {kind}, which has no {tower} tower.")
    check_links(folder)
    check_content(config, folder / CONFIG_FILE)
    row = _row(single, config, folder)
    wanted = sized({"preset": kind} | row, image_size, context_length)
    if not load_weights:
        logger.warning("%s was built with random weights (load_weights=False).", name)
        return build_tower(wanted[single.tower], single.tower, dtype)
    tensors = TensorFiles(folder, WEIGHTS, single.renames)
    check_depth(row, len(tensors), folder)
    made, described = unfilled_as_stored(
        build_tower, folder, row[single.tower], wanted[single.tower], single.tower, dtype
    )
    stored = Alone(single.tower, described)
    entries = single.entries(config)
    check_tensors(entries, single.drop, stored, tensors, folder)
    with filling(made) as built:
        opened = Alone(single.tower, built)
        load_tensors(entries, opened, tensors, resampling(stored, opened))
    if single.classifies:
        logger.info("the layer of classes of %s is no part of its tower; class_head_from_checkpoint gives it.", name)
    return opened.towers()[single.tower]


def open_class_head(name) -> ClassHead:
    """`kzoo.encoders.class_head_from_checkpoint`."""
    folder = _folder(name, True)
    kind = None if folder is None else _class_in(folder)
    if kind is None or not CLASSES[kind].classifies:
        heads = ", ".join(each for each, single in CLASSES.items() if single.classifies)
        raise ValueError(
            f"{name} holds {f'a {kind}' if kind else 'no class of transformers'}, but one of {heads} is expected."
        )
    config, single = read_json(folder / CONFIG_FILE), CLASSES[kind]
    check_links(folder)
    tensors = TensorFiles(folder, WEIGHTS, single.renames)
    weight, bias = head_names()
    lacking = [each for each in (weight, bias) if each not in tensors]
    if lacking:
        raise ValueError(f"{folder} has no {' and '.join(lacking)}, which a {kind} has; it cannot be opened.")
    kernel = tensors.read(weight).T
    names = config.get("id2label") or {}
    labels = [str(names.get(str(number), f"LABEL_{number}")) for number in range(kernel.shape[1])]
    return ClassHead(kernel, tensors.read(bias), labels)


def _row(single, config, folder):
    content, file = steps_of(folder) if single.tower == f"image{TOWER}" else ({}, "")
    return single.row(config, content, steps_file=file)


def _folder(name, load_weights):
    """The folder that a name is of; None for that of a preset."""
    name = str(name)
    if name.startswith(hub.SCHEME):
        return from_hub(name, lambda folder: _weights_of(folder) if load_weights else [])[0]
    return readable(Path(name)) if Path(name).is_dir() else None


def _weights_of(folder):
    return weight_files(folder) if _class_in(folder) is None else [f"{WEIGHTS}.safetensors"]


def _class_in(folder):
    return class_of(read_json(folder / CONFIG_FILE))


def _of_a_model(name, tower, load_weights, image_size, context_length, dtype):
    model = from_preset(name, load_weights, image_size, context_length, dtype)
    towers = {each.removesuffix(TOWER): part for each, part in model.towers().items() if each.endswith(TOWER)}
    if tower is None and len(towers) > 1:
        raise ValueError(
            f"{name} has the towers {' and '.join(towers)}; say which, such as tower={next(iter(towers))!r}."
        )
    if tower is not None and tower not in towers:
        raise ValueError(f"{name} has no {tower} tower, only {' and '.join(towers)}.")
    return towers[tower or next(iter(towers))]
