"""A graph is compared with the model before it is left on disk."""

import keras
import numpy as np

from kzoo.extras import require


class ExportError(RuntimeError):
    """The exporter failed, or the graph does not give the model's numbers. Nothing is left on disk."""


def reference(tower):
    """What the running model gives on the tower's samples, one after the other: output name -> array."""
    return tower.run(
        lambda inputs: {
            name: keras.ops.convert_to_numpy(value) for name, value in tower.graph(*inputs.values()).items()
        }
    )


def run_onnx(path, tower):
    """What onnxruntime gives on the tower's samples, in the form of `reference`."""
    onnxruntime = require("onnxruntime", "export", "Verifying an ONNX graph")
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    names = list(tower.outputs)
    return tower.run(lambda inputs: dict(zip(names, session.run(names, inputs))))


def worst_difference(expected, got, tolerance, what):
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
