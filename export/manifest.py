"""manifest.json: what the files of an export are. No Keras here."""

from pathlib import Path

import numpy as np

from kzoo.export.formats import FORMATS
from kzoo.files.fingerprint import Fingerprints
from kzoo.files.opening import within
from kzoo.files.schema import (
    ID,
    LENGTH,
    LIST,
    NULL,
    TEXT,
    TOKENS,
    WIDTH,
    Each,
    Items,
    Object,
    check,
    choice,
    number,
)
from kzoo.files.strict_json import check_content, read_json
from kzoo.preprocessing.schema import PREPROCESSOR

FIRST_OPSET = 13  # of ONNX: the first with what our graphs are made of
MANIFEST_FILE = "manifest.json"
# begin the names of outputs of a caption's step: NEW what is written into the input of that name, at the position that
# was read, for the next one; NEXT, of exports before, all of that input
NEW, NEXT = "new_", "next_"
SHARED = "pictures"  # rows of an input that are as many as those of the others, or one which all of them read
ARRAYS = Items(Object({"name": TEXT, "dtype": TEXT, "shape": LIST}, ("name",)))
COSINE, SHARE, COUNT = number(-1.001, 1.001), number(0.0, 1.0), number(0.0, 1e15)
QUANTIZED = Object(
    {
        "level": TEXT,
        "bytes": Each(COUNT),
        "refused": Each(TEXT),
        "cosine": Each(COSINE),
        "speed": number(0.0, 1e30, beyond=True),
        "products_in_float32": COUNT,
    },
    ("level",),
)
MANIFEST = Object(
    {
        "kzoo": TEXT,
        "format": choice(*FORMATS),
        "dtype": TEXT,
        "preset": TEXT,
        "embed_dim": WIDTH | NULL,
        "similarity": Object(
            {"scale": number(0.0, 1e30, beyond=True), "bias": number(-1e30, 1e30)}, ("scale", "bias"), nullable=True
        ),
        "graphs": Each(
            Object(
                {"file": TEXT, "signature": TEXT | NULL, "inputs": ARRAYS, "outputs": ARRAYS},
                ("file", "inputs", "outputs"),
            )
        ),
        "preprocessor": PREPROCESSOR,
        "captions": Object(
            {"context_length": LENGTH, "vocab_size": TOKENS, "pad_id": ID, "start_id": ID | NULL},
            ("context_length", "vocab_size", "pad_id", "start_id"),
        ),
        "fingerprints": Each(TEXT),
        "quantized": Object(
            {
                "to": TEXT,
                "min_cosine": COSINE,
                "max_recall_drop": SHARE,
                "samples": Each(COUNT),
                "graphs": Each(QUANTIZED),
                "asked": Each(COSINE),
                "recall": Each(Each(SHARE)),
                "equal_captions": SHARE,
            },
            ("to", "graphs"),
            nullable=True,
        ),
    },
    ("kzoo", "format", "preset", "embed_dim", "similarity", "graphs", "preprocessor"),
)


def signature_of(name) -> str:
    """The signature of a graph in a SavedModel: `encode_image` of `image_encoder`, others by their own name."""
    stem = name.removesuffix("_encoder")
    return name if stem == name else f"encode_{stem}"


def names(ports) -> list[str]:
    """Those of the inputs or outputs of a graph in a manifest."""
    return [each["name"] for each in ports]


def carried(inputs, outputs) -> dict:
    """What a caption's step hands on to the next one: name of an input -> name of the output that it is next.

    Args:
        inputs, outputs: lists of names.

    Example:
        >>> carried(["token_ids", "keys_0", "memory_keys_0"], ["logits", "new_keys_0"])
        {'keys_0': 'new_keys_0'}
    """
    return {name: f"{start}{name}" for name in inputs for start in (NEW, NEXT) if f"{start}{name}" in outputs}


def following(given, found, carried) -> dict:
    """What a caption's step reads of the past after one that was `given` arrays by name and `found` others.

    Args:
        given, found: dicts of arrays.
        carried: as `carried` gives it.

    Returns:
        dict: name of an input -> array.
    """
    past = {}
    for name, output in carried.items():
        past[name] = found[output]
        if output.startswith(NEW):
            past[name] = given[name].copy()
            past[name][np.arange(len(past[name])), :, given["positions"]] = found[output][:, :, 0]
    return past


def describe_towers(towers, format) -> dict:
    """The `graphs` entry of a manifest: per tower its file, inputs and outputs."""
    graphs = {}
    for tower in towers:
        graphs[tower.name] = {
            "file": FORMATS[format].file.format(tower.name),
            "signature": signature_of(tower.name) if format == "tf_saved_model" else None,
            "inputs": [
                _array(name, dtype, shape, SHARED if name in tower.shared else "batch")
                for name, (shape, dtype) in tower.inputs.items()
            ],
            "outputs": [_array(name, tower.output_dtype, shape) for name, shape in tower.outputs.items()],
        }
    return graphs


def shared_inputs(graph) -> list[str]:
    """Names of those inputs of a graph in a manifest that have a row for each of the others', or one for all."""
    return [each["name"] for each in graph["inputs"] if (each.get("shape") or [None])[0] == SHARED]


def _array(name, dtype, shape, rows="batch"):
    return {"name": name, "dtype": dtype, "shape": [rows, *shape]}


def is_export(folder) -> bool:
    """Whether a folder holds an export of kzoo."""
    try:
        read_manifest(folder)
    except ValueError:
        return False
    return True


def read_manifest(folder) -> dict:
    """The manifest of an export.

    Raises:
        ValueError: the folder is no export of kzoo, or its manifest says what none of kzoo's does.
    """
    place = folder / MANIFEST_FILE
    try:
        manifest = read_json(place, finite=False)
    except (OSError, ValueError) as error:
        said = str(error).rstrip(".")
        raise ValueError(f"{folder} is no export of kzoo: {MANIFEST_FILE} cannot be read ({said}).") from error
    if not isinstance(manifest, dict) or "kzoo" not in manifest or "graphs" not in manifest:
        raise ValueError(f"{folder} is no export of kzoo: {MANIFEST_FILE} was written by something else.")
    check(manifest, MANIFEST, place)
    check_content({name: manifest.get(name) for name in MANIFEST.fields}, place)
    for name in manifest.get("fingerprints", {}):
        within(folder, name, MANIFEST_FILE, below=True)
    return manifest


def fingerprints(folder, manifest, verify=True) -> Fingerprints:
    """Around the reading of an export: its graphs must be those that its manifest was written with.

    Exports of the first version have no fingerprints. `with fingerprints(folder, read_manifest(folder)): ...` checks a
    SavedModel before TensorFlow opens it.

    Args:
        folder: path.
        manifest: its manifest.
        verify: False takes the files as they are.
    """
    return Fingerprints(Path(folder), manifest.get("fingerprints", {}) if verify else {}, MANIFEST_FILE)
