"""Single weights that are not trained: locked and opened by their paths, and kept in files."""

import re

import keras

from kzoo.paths import at_paths, layers, parameters

ATTACHED = ("objective", "gradients", "means", "health", "patches")  # by `compile`, which makes them anew
WITH_LORA = (
    keras.layers.Dense,
    keras.layers.EinsumDense,
    keras.layers.Embedding,
    keras.layers.Conv1D,
    keras.layers.Conv2D,
    keras.layers.Conv3D,
)


def has_lora(layer) -> bool:
    """Whether a layer has LoRA weights beside its own."""
    return isinstance(layer, WITH_LORA) and layer.lora_enabled


def lock(model, chosen) -> None:
    """Lock weights of a model, and each layer that has no others: a batch norm then holds its statistics.

    Args:
        model: a built layer or model, which stays as it is: only its parts are locked.
        chosen: list of `kzoo.paths.Parameter`.
    """
    for each in chosen:
        each.variable.trainable = False
    touched = [each.path for each in chosen]
    for path, layer, own in _parts(model):
        if path and any(map(_within(path), touched)) and not any(each.variable.trainable for each in own):
            layer.trainable = False


def unlock(model, chosen) -> None:
    """Open weights of a model, and the layers around them; what else is locked in those stays so.

    Args:
        model: a built layer or model.
        chosen: list of `kzoo.paths.Parameter`.

    Raises:
        ValueError: a weight of a layer that cannot be opened, such as a teacher; nothing is changed.
    """
    before = [(each.variable, each.variable.trainable) for each in parameters(model)]
    locked = [(path, layer) for path, layer, _ in layers(model) if not layer.trainable]
    touched = [each.path for each in chosen]
    around = [(path, layer) for path, layer in locked if not path or any(map(_within(path), touched))]
    refused = None
    for path, layer in around:  # the outermost first: each opens all that is within it
        layer.trainable = True
        refused = refused or (None if layer.trainable else path)
    opened = set() if refused else {id(layer) for _, layer in around}
    for _, layer in locked:
        if id(layer) not in opened:
            layer.trainable = False
    for variable, trained in before:
        variable.trainable = trained
    if refused:
        raise ValueError(f"{refused} is locked for good and cannot be opened; choose weights outside of it.")
    for each in chosen:
        each.variable.trainable = True


def locked_paths(model) -> list[str]:
    """What a file has to say of the locked weights of a model, for `lock_again`: the largest parts that have no others.

    Towers, which say it in their own config, and what `compile` attaches are left out; so are kernels with Keras' LoRA,
    which is merged into what is written.
    """
    found = []
    for path, layer, own in _parts(model):
        done = any(_within(each)(path) for each in found)
        if not path or path.split(".")[0] in (*ATTACHED, "teacher") or done or not own:
            continue
        if not any(each.variable.trainable for each in own):
            found.append(path)
        else:
            found += [each.path for each in own if each.owner is layer and not each.variable.trainable]
    return [path for path in found if "." in path]


def lock_again(model, paths) -> None:
    """Lock what `locked_paths` found.

    Raises:
        ValueError: a path that the model does not have.
    """
    lock(model, at_paths(model, paths))


def _parts(model):
    """`(path, layer, weights that it and all within it have to train)` of a model and its layers."""
    within = {}  # path of a layer -> those
    for each in parameters(model):
        if each.trains and not _beside_lora(each):
            for end in (0, *(found.start() for found in re.finditer(r"\.|$", each.path))):
                within.setdefault(each.path[:end], []).append(each)
    for path, layer, _ in layers(model):
        yield path, layer, within.get(path, [])


def _beside_lora(parameter):
    name = parameter.path.rpartition(".")[2]
    return has_lora(parameter.owner) and not parameter.variable.trainable and name in ("kernel", "embeddings")


def _within(path):
    return lambda other: other == path or other.startswith(f"{path}.")
