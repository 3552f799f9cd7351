"""Weights in files of other libraries that are not read here: which those are, and what they are."""

from fnmatch import fnmatch
from pathlib import Path

from kzoo.files.strict_json import read_object

ADAPTER = "adapter_config.json"  # of PEFT
_FORMS = (  # names in a folder -> what such files hold; the first that is there is told
    ("adapter_model.*", "an adapter of PEFT; merge it there with merge_and_unload() and save_pretrained()"),
    ("*.gguf", "quantised weights of llama.cpp"),
    ("*.onnx", "a graph of ONNX, not its weights by name"),
    ("openvino_model.xml", "a graph of OpenVINO"),
    ("tf_model.h5", "weights of transformers' TensorFlow classes"),
    ("*.mlpackage*", "a model of Core ML"),
    ("weights*.safetensors", "weights of MLX, in layouts of its own"),
    ("weights*.npz", "weights of MLX, in layouts of its own"),
    ("*.fp16.safetensors", "a variant; give it the name without .fp16 if it is what you want"),
    ("diffusion_pytorch_model*", "a part of a pipeline of diffusers"),
)


def told(names) -> str | None:
    """What a folder without weights that are read holds in their place; None where that is nothing known.

    Args:
        names: of its files, those within its folders too.

    Example:
        >>> told(["config.json", "onnx/model.onnx"])
        'onnx/model.onnx, a graph of ONNX, not its weights by name'
    """
    for pattern, what in _FORMS:
        for name in sorted(each for each in names if fnmatch(each, pattern)):
            return f"{name}, {what}"
    return None


def names_in(folder) -> list:
    """Names of the files and folders of a folder, and of those in its folders."""
    return [path.relative_to(folder).as_posix() for pattern in ("*", "*/*") for path in Path(folder).glob(pattern)]


def check_adapter(folder) -> None:
    """Stops at a folder with an adapter of PEFT alone.

    Raises:
        ValueError: that; the sentence says what it is put on.
    """
    path = Path(folder) / ADAPTER
    if path.exists():
        base = read_object(path).get("base_model_name_or_path")
        on = f" for {base}" if isinstance(base, str) and base.isprintable() else ""
        raise ValueError(
            f"{folder} holds an adapter of PEFT{on} ({ADAPTER}), which is no model by itself; merge it there with "
            "merge_and_unload(), and open what save_pretrained() then writes."
        )
