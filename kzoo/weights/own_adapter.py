"""Adapters that no other library has a file for: a config, and tensors by kzoo's own paths. Without Keras."""

from collections.abc import Callable

from kzoo.files.schema import OBJECT, TEXT, Items, Object, check, choice
from kzoo.files.words import on_one_line
from kzoo.weights import peft

KIND = "kzoo_adapter"  # in the config, and of no other library
WEIGHTS = {  # kind -> what a layer has of it
    "bottleneck": ("down", "down_bias", "up", "up_bias"),
    "prefix": ("keys", "values", "gates"),
}
FIELDS = Object({KIND: choice(*WEIGHTS), "config": OBJECT, "layers": Items(TEXT)}, (KIND, "config", "layers"))


def write_config(kind, config, layers, base) -> dict:
    """The content of the config.

    Args:
        kind: one of `WEIGHTS`.
        config: dict, what each layer is told.
        layers: list of their paths.
        base: name of the model's repository, or None.
    """
    return {KIND: kind, "config": config, "layers": layers, "base_model_name_or_path": base}


def check_config(content, path) -> None:
    """Stops where the content of a config is none.

    Raises:
        ValueError: what is wrong with it.
    """
    check(content, FIELDS, path)
    if not content["layers"]:
        raise ValueError(f"{path} names no layer.")


def arrays_of(tensors, content, folder, stop) -> dict:
    """Name -> array, of the tensors that a config tells of.

    Args:
        tensors: `kzoo.weights.tensors.TensorFiles`.
        content: that `check_config` lets pass.
        folder: path, for sentences.
        stop: function that is given a sentence on each that is missing, not told of, or holds what no adapter does.
    """
    wanted = [f"{layer}.{name}" for layer in content["layers"] for name in WEIGHTS[content[KIND]]]
    for name in sorted({*wanted} - {*tensors}):
        stop(f"{folder} lacks the tensor {on_one_line(name)[:100]}.")
    for name in sorted({*tensors} - {*wanted}):
        stop(f"{folder} has the tensor {on_one_line(name)[:100]}, which its config does not tell of.")
    found = {}
    for name in wanted:
        if name in tensors:
            found[name] = tensors.read(name)
            _told(stop, lambda array=found[name], place=f"{name} in {folder}": peft.check_sane(array, place))
    return found


def _told(stop: Callable, look: Callable) -> None:
    try:
        look()
    except ValueError as error:
        stop(str(error))
