"""Adapters as PEFT stores them: `adapter_config.json`, and names and shapes of tensors.

Read from what PEFT 0.21 writes.
"""

import math
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from kzoo.files.numbers import check_finite
from kzoo.files.schema import FLAG, NULL, OBJECT, RATE, TEXT, Object, number, shown, whole
from kzoo.files.words import on_one_line
from kzoo.weights.mapping import HALVES_TRANSPOSE, SPLIT_TRANSPOSE, TRANSPOSE, Transform, expand

CONFIG_FILE, STEM = "adapter_config.json", "adapter_model"
PREFIX = "base_model.model."
A, B, MAGNITUDE = "lora_A.weight", "lora_B.weight", "lora_magnitude_vector"
READ = (
    *("peft_type", "r", "lora_alpha", "lora_dropout", "use_rslora", "use_dora", "base_model_name_or_path"),
    *("rank_pattern", "alpha_pattern"),
)
LARGEST = 1e12  # of the numbers in a file, and of what they may add to a weight: those of training stay far below
FIELDS = Object(
    {
        **{"r": whole(1, "WIDTH"), "lora_alpha": number(0.0, LARGEST, beyond=True), "lora_dropout": RATE},
        **{"base_model_name_or_path": TEXT | NULL, "use_rslora": FLAG | NULL, "use_dora": FLAG | NULL},
        **{"rank_pattern": OBJECT | NULL, "alpha_pattern": OBJECT | NULL},
    },
    needs=("r", "lora_alpha"),
)
LONGEST, REPEATS = 500, 3  # letters of a pattern of a stranger, and what in it may repeat: none takes long to match
REPEATED = re.compile(r"[*+?{]")
STARTS = (True, False, "gaussian", "orthogonal")  # of A and B, which leave the base model as it is
HARMLESS = {  # where an adapter was trained, what starts it, and which layers have one, which the tensors say
    *("auto_mapping", "exclude_modules", "inference_mode", "layers_pattern", "layers_to_transform", "megatron_core"),
    *("peft_version", "qalora_group_size", "revision", "runtime_config", "target_modules", "task_type"),
}


@dataclass(frozen=True)
class Place:
    """A layer by its name in the file.

    Attributes:
        module: that name.
        paths: of the layer in the model; or of several whose kernels are one there, one behind the other.
        transform: between the tensor of its kernel and ours.
        flat: whether that is of a matrix, also where the kernel has more axes.
    """

    module: str
    paths: tuple[str, ...]
    transform: Transform
    flat: bool = False

    @property
    def path(self) -> str:
        """Of the first layer."""
        return self.paths[0]


def places(entries, model) -> list[Place]:
    """The layers of a model whose kernels are a tensor in a map, alone or one behind the other."""
    found = []
    for tensor, paths, _, transform in expand(entries, model):
        joined = len(paths) > 1
        if joined and transform not in (SPLIT_TRANSPOSE, HALVES_TRANSPOSE):
            continue
        if tensor.endswith(".weight") and all(path.endswith(".kernel") for path in paths):
            own = tuple(path.removesuffix(".kernel") for path in paths)
            found.append(Place(tensor.removesuffix(".weight"), own, TRANSPOSE if joined else transform))
    return found


def own_places(paths) -> list[Place]:
    """The same for a model that transformers does not know: its layers go by their own paths, and have matrices."""
    return [Place(path, (path,), TRANSPOSE, flat=True) for path in paths]


def to_tensors(place, update, kernel_shape) -> dict:
    """The tensors of one layer, by their names in the file.

    Args:
        place: `Place`.
        update: dict of arrays `a`, `b` and, where it has one, `magnitude`.
        kernel_shape: of the layer.
    """
    rank = update["a"].shape[1]
    a = place.transform.to_tensor([update["a"].reshape((*_inner(place, kernel_shape), rank))])
    ones = (1,) * (a.ndim - 2)  # of a convolution
    found = {A: a, B: update["b"].T.reshape((-1, rank, *ones))}
    if "magnitude" in update:
        found[MAGNITUDE] = update["magnitude"].reshape((1, -1, *ones) if ones else (-1,))
    return {f"{PREFIX}{place.module}.{name}": np.ascontiguousarray(array) for name, array in found.items()}


def from_tensors(place, tensors, kernel_shape, rank) -> dict:
    """The inverse of `to_tensors`.

    Args:
        place: `Place`.
        tensors: ending of a name -> array.
        kernel_shape: of the layer.
        rank: that the config says.

    Raises:
        ValueError: shapes that are not those of this layer and rank.
    """
    inner, outer = _inner(place, kernel_shape), kernel_shape[-1]
    blank = {"a": np.zeros((math.prod(inner), rank)), "b": np.zeros((rank, outer))}
    if MAGNITUDE in tensors:
        blank["magnitude"] = np.zeros(outer)
    for name, array in to_tensors(place, blank, kernel_shape).items():
        got = tensors[name.removeprefix(f"{PREFIX}{place.module}.")]
        if got.shape != array.shape:
            raise ValueError(f"{name} has shape {got.shape}, but {array.shape} is that of {place.path} at rank {rank}")
    a = place.transform.to_parameters(tensors[A])[0].reshape((-1, rank))
    found = {"a": a, "b": tensors[B].reshape((outer, rank)).T}
    return found | ({"magnitude": tensors[MAGNITUDE].reshape(-1)} if MAGNITUDE in tensors else {})


def write_config(configs, base) -> dict:
    """The content of `adapter_config.json`.

    Args:
        configs: name of a layer -> dict of arguments of `kzoo.layers.low_rank.LowRank`, which differ in rank and alpha
            alone.
        base: name of the model's repository, or None.
    """
    pairs = Counter((each["rank"], each["alpha"]) for each in configs.values())
    config = next(iter(configs.values())) | dict(zip(("rank", "alpha"), pairs.most_common(1)[0][0]))
    patterns = {
        key: {f"^{re.escape(name)}": each[key] for name, each in configs.items() if each[key] != config[key]}
        for key in ("rank", "alpha")
    }
    return {
        "peft_type": "LORA",
        "task_type": None,
        "base_model_name_or_path": base,
        "inference_mode": True,
        "r": config["rank"],
        "lora_alpha": config["alpha"],
        "lora_dropout": config["dropout"],
        "use_rslora": config["rank_stabilized"],
        "use_dora": config["decomposed"],
        "rank_pattern": patterns["rank"],
        "alpha_pattern": patterns["alpha"],
        "target_modules": sorted(configs),
        "bias": "none",
        "fan_in_fan_out": False,
        "init_lora_weights": True,
        "modules_to_save": None,
    }


def read_config(content, path) -> dict:
    """Arguments of `LowRank` from the content of `adapter_config.json`.

    Raises:
        ValueError: as `problems_of_config` says.
    """
    problem = next(problems_of_config(content, path), None)
    if problem is not None:
        raise ValueError(problem)
    return {
        "rank": content["r"],
        "alpha": content["lora_alpha"],
        "dropout": content.get("lora_dropout", 0.0),
        "rank_stabilized": content.get("use_rslora") or False,
        "decomposed": content.get("use_dora") or False,
        "rank_pattern": content.get("rank_pattern") or {},
        "alpha_pattern": content.get("alpha_pattern") or {},
    }


def problems_of_config(content, path) -> Iterator[str]:
    """What is wrong with `adapter_config.json`: no LoRA, or what this version would have to skip, though it changes
    numbers.
    """
    if content.get("peft_type") != "LORA":
        yield f"{path} says peft_type={shown(content.get('peft_type'))}, but LORA alone is read."
    if content.get("bias", "none") != "none":
        yield f"{path} says bias={shown(content['bias'])}: its biases are trained, too, which is not read."
    if content.get("init_lora_weights", True) not in STARTS:
        said = shown(content["init_lora_weights"])
        yield f"{path} says init_lora_weights={said}, which changes the weights of the base model."
    yield from FIELDS.problems(content, path)
    known = {*READ, *HARMLESS, "bias", "init_lora_weights"}
    for name, value in content.items():
        if name not in known and value not in (None, False, {}, [], ""):
            said = f"{on_one_line(name)[:100]}={shown(value)}"
            yield f"{path} says {said}, which this version does not read and does not skip: it changes numbers."


def of_pattern(table, module, default, name) -> Any:
    """What a dict of patterns says of a layer, as PEFT reads it: the first whose regular expression is the name, or
    what it ends with after a dot.

    Args:
        table: pattern -> value.
        module: name of the layer.
        default: where none fits.
        name: of the dict, for sentences.

    Raises:
        ValueError: a pattern that is no regular expression, or one that could take long.
    """
    for pattern, value in table.items():
        said = f"{name} has the pattern {on_one_line(pattern)[:100]!r}"
        if len(pattern) > LONGEST or len(REPEATED.findall(pattern)) > REPEATS or re.search(r"\)\s*[*+?{]", pattern):
            raise ValueError(f"{said}, which is not read: it is long, or repeats much.")
        try:
            if re.fullmatch(rf"(?:.*\.)?(?:{pattern})", module):
                return value
        except re.error as error:
            raise ValueError(f"{said}, which is no regular expression: {error}.") from error
    return default


def of_layer(config, module, path) -> dict:
    """Rank and alpha of a layer, as the patterns of a config have them; what they are is not looked at.

    Args:
        config: what `read_config` gives.
        module: name of the layer.
        path: of the config, for sentences.

    Raises:
        ValueError: as `of_pattern`.
    """
    return {
        key: of_pattern(config[f"{key}_pattern"], module, config[key], f"{path}: {key}_pattern")
        for key in ("rank", "alpha")
    }


def by_module(tensors, folder, note) -> dict:
    """Name of a layer -> ending -> array, of the tensors of a file.

    Args:
        tensors: `kzoo.weights.tensors.TensorFiles`.
        folder: path, for the sentences.
        note: function that is called with a sentence for each thing that is wrong; it may stop.
    """
    found, ends = {}, {}
    for name in tensors:
        end = next((end for end in (A, B, MAGNITUDE) if name.endswith(f".{end}")), None)
        if end is None or not name.startswith(PREFIX):
            note(f"{folder} has the tensor {name}, which is none of LoRA on a linear layer or a convolution.")
            continue
        module = name.removeprefix(PREFIX).removesuffix(f".{end}")
        ends.setdefault(module, set()).add(end)
        try:
            array = tensors.read(name)
            check_sane(array, f"{name} in {folder}")
        except ValueError as error:
            note(str(error))
            continue
        found.setdefault(module, {})[end] = array
    if not ends:
        note(f"{folder} holds no tensor of an adapter.")
    wanted = {A, B, MAGNITUDE} if any(MAGNITUDE in each for each in ends.values()) else {A, B}
    for module, each in ends.items():
        if each != wanted:
            note(f"{folder} lacks {', '.join(sorted(wanted - each))} of {module}.")
    return found


def check_sane(array, place) -> None:
    """Stops at numbers that no adapter is made of.

    Args:
        array: numpy array.
        place: what to call it in the sentence.

    Raises:
        ValueError: no floats, NaN, or a number beyond `LARGEST`.
    """
    if array.dtype.kind != "f":
        raise ValueError(f"{place} is of {array.dtype}, but floats are expected.")
    check_finite(array, place)
    largest = np.abs(array).max(initial=0.0)
    if largest > LARGEST:
        raise ValueError(f"{place} holds {largest:g}, more than any adapter is made of.")


def check_together(arrays, config, module, folder) -> None:
    """Stops where what the tensors of a layer add to its weights is beyond all numbers.

    Args:
        arrays: ending of a name -> array.
        config: what `read_config` gives.
        module: name of the layer.
        folder: path, for the sentence.

    Raises:
        ValueError: by how much at most.
    """
    rank = config["rank"]
    scale = config["alpha"] / (math.sqrt(rank) if config["rank_stabilized"] else rank)
    largest = math.prod(float(np.abs(arrays[end]).max(initial=0.0)) for end in (A, B)) * rank * scale
    if largest > LARGEST:
        raise ValueError(
            f"the adapter in {folder} changes weights of {module} by up to {largest:g}, with lora_alpha="
            f"{shown(config['alpha'])}; that is none that was trained."
        )


def _inner(place, kernel_shape):
    return (math.prod(kernel_shape[:-1]),) if place.flat else kernel_shape[:-1]
