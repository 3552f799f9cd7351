"""Which files belong to a model, by the layout of its folder: a folder holds one model, in one layout."""

import json
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

VOCABULARY = (
    *("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json"),
    *("vocab.json", "merges.txt", "vocab.txt", "bpe_simple_vocab_16e6.txt.gz"),
    *("spiece.model", "tokenizer.model", "sentencepiece.bpe.model"),
)


@dataclass(frozen=True)
class Layout:
    """The files of a layout.

    Attributes:
        title: what a folder in this layout holds, for a sentence.
        declared_by: JSON file that says that a folder is of this layout.
        key: which it has, None for any content.
        files: patterns of the names of all files that may belong to it.
        format: what else it says of itself, None for nothing.
    """

    title: str
    declared_by: str
    key: str | None
    files: tuple
    format: str | None = None


LAYOUTS = {
    "kzoo": Layout(
        "a model of kzoo",
        "config.json",
        "kzoo",
        (
            *("config.json", "model.safetensors", "model.weights.h5", "tokenizer.json"),
            *("classifier.safetensors", "classifier.keras"),  # of what was adapted
        ),
    ),
    "transformers": Layout(
        "a model of transformers",
        "config.json",
        "model_type",
        (
            *("config.json", "generation_config.json", "preprocessor_config.json", "processor_config.json"),
            *("model.safetensors", "model.safetensors.index.json", "model-?????-of-?????.safetensors"),
            *VOCABULARY,
        ),
    ),
    "open_clip": Layout(
        "a model of open_clip",
        "open_clip_config.json",
        None,
        (
            *("open_clip_config.json", "open_clip_model.safetensors", "open_clip_model.safetensors.index.json"),
            *("open_clip_model-?????-of-?????.safetensors", "text_tower/config.json"),
            *VOCABULARY,
        ),
    ),
    "adapter": Layout(
        "an adapter of PEFT",
        "adapter_config.json",
        "peft_type",
        ("adapter_config.json", "adapter_model.safetensors"),
    ),
    "shards": Layout(
        "shards of pairs",
        "index.json",
        "shards",
        ("index.json", "data-?????.tar"),
    ),
    "onnx": Layout(
        "an export to ONNX",
        "manifest.json",
        "graphs",
        ("manifest.json", "*.onnx", "*.onnx.data", "tokenizer.json", "classifier.safetensors"),
        "onnx",
    ),
    "tf_saved_model": Layout(
        "an export to a SavedModel",
        "manifest.json",
        "graphs",
        (
            *("manifest.json", "saved_model.pb", "fingerprint.pb", "keras_metadata.pb"),
            *("variables/*", "assets/*", "tokenizer.json", "classifier.safetensors"),
        ),
        "tf_saved_model",
    ),
    "web_page": Layout(
        "a page for browsers",
        "page.json",
        "page",
        (
            *("index.html", "page.json", "onnxruntime.js", "loader-???.js", "engine-???.js"),
            *("classes-???.js", "graph-???.js", "texts-???.js", "vocabulary-???.js", "tokenizers-???.js"),
            "tokenizers.LICENSE",
        ),
    ),
    "openvino": Layout(
        "an export to OpenVINO",
        "manifest.json",
        "graphs",
        (
            *("manifest.json", "*_encoder.xml", "*_encoder.bin", "caption_*.xml", "caption_*.bin"),
            *("tokenizer.json", "classifier.safetensors"),
        ),
        "openvino",
    ),
    "litert": Layout(
        "an export to LiteRT",
        "manifest.json",
        "graphs",
        ("manifest.json", "*.tflite", "tokenizer.json", "classifier.safetensors"),
        "litert",
    ),
    "torch_export": Layout(
        "an export to torch.export",
        "manifest.json",
        "graphs",
        ("manifest.json", "*.pt2", "tokenizer.json", "classifier.safetensors"),
        "torch_export",
    ),
}
EXPORTS = ("onnx", "tf_saved_model", "openvino", "litert", "torch_export")


def is_within(name) -> bool:
    """Whether a name that a file gives is of something inside of its folder.

    Example:
        >>> is_within("text_tower/config.json"), is_within("../config.json"), is_within("/config.json")
        (True, False, False)
    """
    if not isinstance(name, str) or not name or "\0" in name:
        return False
    path = Path(name)
    return bool(path.parts) and ".." not in path.parts and not path.is_absolute() and not path.drive


def held_in(folder) -> list[str]:
    """Names of the layouts that a folder declares to be of: none, one, or more where saves were mixed."""
    return [name for name, layout in LAYOUTS.items() if _declares(Path(folder), layout)]


def files_of(folder, layout) -> list[str]:
    """Names of the files in a folder that may belong to a layout, sorted; with `/` between folder and file."""
    folder, found = Path(folder), set()
    for pattern in LAYOUTS[layout].files:
        inner, _, last = pattern.rpartition("/")
        place = folder / inner
        if place.is_dir() and not (inner and place.is_symlink()):
            names = [path.name for path in place.iterdir() if path.is_symlink() or not path.is_dir()]
            found |= {f"{inner}/{name}" if inner else name for name in names if fnmatchcase(name, last)}
    return sorted(found)


def check_layout(folder, layout, overwrite) -> list[str]:
    """Stops where a save would mix its files with those of something else.

    Args:
        folder: path, which may hold anything.
        layout: a name of `LAYOUTS`: what is to be written.
        overwrite: whether what stands in the way may be replaced.

    Returns:
        list of the names of all files that go when a model is written: of its own layout and, if `overwrite`, of the
        others that the folder declares.

    Raises:
        FileExistsError: another layout, or files of this one that belong to no model of kzoo.
    """
    held = held_in(folder)
    # an export takes the place of one of another kind: all are declared by their manifest
    others = [name for name in held if name != layout and not (name in EXPORTS and layout in EXPORTS)]
    own = files_of(folder, layout)
    if not overwrite:
        way_out = "choose another folder, or replace it with overwrite=True; files of no model stay"
        if layout in EXPORTS and not held and any(Path(folder).iterdir()):
            raise FileExistsError(
                f"{folder} exists and is not an export; choose another folder, or give overwrite=True."
            )
        if others:
            titles = " and ".join(f"{LAYOUTS[name].title} ({LAYOUTS[name].declared_by})" for name in others)
            raise FileExistsError(f"{folder} holds {titles}, and one folder holds one model; {way_out}.")
        if own and not held:
            raise FileExistsError(
                f"{folder} holds {', '.join(own)}, which would be replaced and belong to no model that is known; "
                f"{way_out}."
            )
    return sorted({*own, *(file for name in held for file in files_of(folder, name))})


def _declares(folder, layout):
    path = folder / layout.declared_by
    if not path.is_file() or layout.key is None:
        return path.is_file()
    try:
        content = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(content, dict) and layout.key in content and layout.format in (None, content.get("format"))
