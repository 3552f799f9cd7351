"""What is wrong with the folder of an adapter, all of it at once, and without the model that it is for."""

from kzoo.files.findings import Findings, check_files
from kzoo.files.strict_json import read_object
from kzoo.files.writing import readable
from kzoo.weights import own_adapter, peft
from kzoo.weights.tensors import TensorFiles

RANKED = {peft.A: 0, peft.B: 1}  # the axis of a tensor whose length is the rank


def problems(folder) -> tuple:
    """Look through the folder of an adapter of PEFT, or of `kzoo.adaptation.save_adapter`.

    Args:
        folder: path, with an `adapter_config.json`.

    Returns:
        `("adapter", problems)`: a list of sentences.
    """
    folder, found = readable(folder), Findings()
    check_files(folder, found)
    if found:
        return "adapter", found
    path = folder / peft.CONFIG_FILE
    content = found.attempt(read_object, path)
    if content is not None and own_adapter.KIND in content:
        return "adapter", _of_own(folder, content, path, found)
    for sentence in () if content is None else peft.problems_of_config(content, path):
        found.note(sentence)
    config = peft.read_config(content, path) if not found else None
    tensors = found.attempt(lambda: TensorFiles(folder, peft.STEM, endings=("safetensors",)))
    layers = {} if tensors is None else peft.by_module(tensors, folder, found.note)
    if config is None:
        return "adapter", found
    if config["decomposed"] != any(peft.MAGNITUDE in each for each in layers.values()) and layers:
        found.note(f"{path} says use_dora={config['decomposed']}, but its tensors say otherwise.")
    for module, arrays in layers.items():
        own = found.attempt(_of_layer, config, module, path)
        if own is None:
            continue
        for end, axis in RANKED.items():
            shape = arrays[end].shape if end in arrays else None
            if shape is not None and (len(shape) < 2 or shape[axis] != own["rank"]):
                found.note(f"{end} of {module} in {folder} has shape {shape}, but {path} says r={own['rank']}.")
        if {*RANKED} <= {*arrays}:
            found.attempt(peft.check_together, arrays, own, module, folder)
    return "adapter", found


def _of_own(folder, content, path, found) -> Findings:
    """What is wrong with an adapter that PEFT has no file for."""
    before = len(found)
    found.attempt(own_adapter.check_config, content, path)
    tensors = found.attempt(lambda: TensorFiles(folder, peft.STEM, endings=("safetensors",)))
    if tensors is not None and len(found) == before:
        own_adapter.arrays_of(tensors, content, folder, found.note)
    return found


def _of_layer(config, module, path):
    """The config of one layer, by the patterns of ranks and alphas."""
    own = peft.of_layer(config, module, path)
    for key, value in own.items():
        if not isinstance(value, int | float) or isinstance(value, bool) or not 0 < value <= peft.LARGEST:
            raise ValueError(f"{path}: {key}_pattern says {value!r} of {module}; give a number above 0.")
    return config | own
