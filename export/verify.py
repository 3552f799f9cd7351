"""A graph is compared with the model before it is left on disk."""

import warnings
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np

from kzoo.extras import require

# of several shapes and lengths, one of them longer than a context
PICTURES = [
    np.random.default_rng(side).integers(0, 256, (side, 2 * side // 3, 3), dtype="uint8") for side in (40, 64, 97)
]
TEXTS = ["", "a", "a photo of a red circle", "the small green square lies between two large blue triangles"]


class ExportError(RuntimeError):
    """The exporter failed, or the graph does not give the model's numbers. Nothing is left on disk."""


def reference(tower) -> Iterator:
    """What the running model gives on the tower's samples, one after the other: output name -> array."""
    return tower.run(
        lambda inputs: {
            name: keras.ops.convert_to_numpy(value) for name, value in tower.graph(*inputs.values()).items()
        }
    )


def run_onnx(path, tower) -> Iterator:
    """What onnxruntime gives on the tower's samples, in the form of `reference`."""
    onnxruntime = require("onnxruntime", "export", "Verifying an ONNX graph")
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    names = list(tower.outputs)
    return tower.run(lambda inputs: dict(zip(names, session.run(names, inputs))))


def asked_as_a_user(model, served, tolerance) -> dict:
    """The largest difference between what a model and its export make of pictures and texts as they are.

    Graphs may agree on arrays that the other half of the way never makes of a text: here the whole way is compared.

    Args:
        model: the model.
        served: the export, opened by `kzoo.export.runtime`.
        tolerance: bound on the difference.

    Returns:
        dict: `"encode_image"` and `"encode_text"`, where the model has them -> difference.

    Raises:
        ExportError: a difference above the bound.
    """
    preprocessor, found = model.preprocessor, {}
    if preprocessor is not None and preprocessor.images is not None and "image_encoder" in served.sessions:
        found["encode_image"] = (PICTURES, "encode_image")
    if preprocessor is not None and preprocessor.tokenizer is not None and "text_encoder" in served.sessions:
        found["encode_text"] = (TEXTS, "encode_text")
    for name, (given, method) in found.items():
        with warnings.catch_warnings():  # texts may be longer than the context
            warnings.simplefilter("ignore")
            wanted, got = (getattr(each, method)(given) for each in (model, served))
        difference = float(np.max(np.abs(wanted - got)))
        if not difference <= tolerance:
            raise ExportError(
                f"{name} of the export differs from the model's by {difference:.2e}, more than the bound "
                f"{tolerance:.0e}."
            )
        found[name] = difference
    return found


def worst_difference(expected, got, tolerance, what) -> Any:
    """The largest difference over all batches and outputs: absolute, and relative to the largest value above 1.

    Args:
        expected, got: as `reference` gives them.
        tolerance: bound on the difference.
        what: the graph and the exporter, for the sentence.

    Raises:
        ExportError: another shape, a value that is not finite, or a difference above the bound.
    """
    worst = 0.0
    for wanted, found in zip(expected, got, strict=True):
        for name, values in wanted.items():
            rows = len(values)
            if found[name].shape != values.shape:
                raise ExportError(
                    f"{what}: at batch {rows} the output {name} has shape {found[name].shape}, not {values.shape}."
                )
            difference = float(np.max(np.abs(found[name] - values)) / max(1.0, np.max(np.abs(values))))
            if not difference <= tolerance:  # also catches NaN
                raise ExportError(
                    f"{what}: at batch {rows} the output {name} differs from the model by {difference:.2e}, more than "
                    f"the bound {tolerance:.0e}."
                )
            worst = max(worst, difference)
    return worst
