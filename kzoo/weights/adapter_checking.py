"""What is wrong with the folder of an adapter, all of it at once, and without the model that it is for."""

from kzoo.files.findings import Findings, check_files
from kzoo.files.strict_json import read_object
from kzoo.files.writing import readable
from kzoo.weights import peft
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
        for end, axis in RANKED.items():
            shape = arrays[end].shape if end in arrays else None
            if shape is not None and (len(shape) < 2 or shape[axis] != config["rank"]):
                found.note(f"{end} of {module} in {folder} has shape {shape}, but {path} says r={config['rank']}.")
        if {*RANKED} <= {*arrays}:
            found.attempt(peft.check_together, arrays, config, module, folder)
    return "adapter", found
