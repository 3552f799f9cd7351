"""manifest.json: what the files of an export are. No Keras here."""

import json

MANIFEST_FILE = "manifest.json"
PAST = {"keys": "next_keys", "values": "next_values"}  # inputs of a caption's step -> outputs, the next one's inputs
MEMORY = ("memory_keys", "memory_values")  # what every step needs of a picture


def signature_of(name) -> str:
    """The signature of a graph in a SavedModel: `encode_image` of `image_encoder`, others by their own name."""
    stem = name.removesuffix("_encoder")
    return name if stem == name else f"encode_{stem}"


def describe_towers(towers, format) -> dict:
    """The `graphs` entry of a manifest: per tower its file, inputs and outputs."""
    graphs = {}
    for tower in towers:
        graphs[tower.name] = {
            "file": f"{tower.name}.onnx" if format == "onnx" else ".",
            "signature": signature_of(tower.name) if format == "tf_saved_model" else None,
            "inputs": [_array(name, dtype, shape) for name, (shape, dtype) in tower.inputs.items()],
            "outputs": [_array(name, tower.output_dtype, shape) for name, shape in tower.outputs.items()],
        }
    return graphs


def _array(name, dtype, shape):
    return {"name": name, "dtype": dtype, "shape": ["batch", *shape]}


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
        ValueError: the folder is no export of kzoo.
    """
    try:
        manifest = json.loads((folder / MANIFEST_FILE).read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise ValueError(f"{folder} is no export of kzoo: {MANIFEST_FILE} cannot be read ({error}).") from error
    if not isinstance(manifest, dict) or "kzoo" not in manifest or "graphs" not in manifest:
        raise ValueError(f"{folder} is no export of kzoo: {MANIFEST_FILE} was written by something else.")
    return manifest
