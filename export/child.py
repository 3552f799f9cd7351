"""Export in a process of its own that runs on TensorFlow, whatever this one runs on."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from kzoo.export.onnx_writers import OPSET, write_onnx
from kzoo.extras import require


def export_in_tensorflow(model, folder, format, names=None, opset=OPSET) -> str:
    """Rebuild a model from config and weights on TensorFlow and write its graphs there.

    Args:
        model: a `DualEncoder` in float32.
        folder: where the graphs go.
        format: `"onnx"` or `"tf_saved_model"`.
        names: towers to write; default all.
        opset: of ONNX.

    Returns:
        str, the exporter that wrote them.

    Raises:
        ImportError: TensorFlow is not installed.
        RuntimeError: the process failed; its last words are in the message.
    """
    require("tensorflow", "tensorflow", "This export")
    with tempfile.TemporaryDirectory() as preset:
        model.save_to_preset(preset)
        command = [sys.executable, "-m", "kzoo.export.child", preset, str(folder), format, str(opset), *(names or ())]
        environment = os.environ | {"KERAS_BACKEND": "tensorflow", "TF_CPP_MIN_LOG_LEVEL": "3"}
        done = subprocess.run(command, env=environment, capture_output=True, text=True)
    if done.returncode:
        last_words = done.stderr.strip().splitlines()[-1:] or ["it said nothing"]
        raise RuntimeError(f"the export on TensorFlow failed: {last_words[0]}")
    return done.stdout.strip().splitlines()[-1]


def main(preset, folder, format, opset, *names) -> None:
    """The process: open the preset on TensorFlow, write, print the exporter's name."""
    from kzoo.export.captions import onnx_towers, saved_towers
    from kzoo.export.saved_model import write_saved_model
    from kzoo.presets.loader import from_preset

    model = from_preset(preset)
    if format == "tf_saved_model":
        exporter = write_saved_model(model, saved_towers(model), Path(folder))
    else:
        for tower in onnx_towers(model):
            if tower.name in names:
                exporter = write_onnx(tower, Path(folder) / f"{tower.name}.onnx", int(opset))
    print(f"{exporter} on tensorflow")


if __name__ == "__main__":
    main(*sys.argv[1:])
