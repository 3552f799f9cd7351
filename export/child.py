"""Export in a process of its own that runs on another backend than this one."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from kzoo.export.formats import OPSET
from kzoo.export.onnx_writers import write_onnx
from kzoo.extras import require

TITLES = {"tensorflow": "TensorFlow", "torch": "torch"}


def export_on(backend, model, folder, format, names=None, opset=OPSET) -> str:
    """Rebuild a model from config and weights on another backend and write its graphs there.

    Args:
        backend: `"tensorflow"` or `"torch"`.
        model: a `DualEncoder` in float32.
        folder: where the graphs go.
        format: a name of `kzoo.export.formats.FORMATS` that this backend writes.
        names: towers to write, of ONNX; default all.
        opset: of ONNX.

    Returns:
        str, the exporter that wrote them.

    Raises:
        ImportError: the backend is not installed.
        RuntimeError: the process failed; its last words are in the message.
    """
    require(backend, backend, "This export")
    with tempfile.TemporaryDirectory() as preset:
        model.save_to_preset(preset)
        command = [sys.executable, "-m", "kzoo.export.child", preset, str(folder), format, str(opset), *(names or ())]
        environment = os.environ | {"KERAS_BACKEND": backend, "TF_CPP_MIN_LOG_LEVEL": "3"}
        done = subprocess.run(command, env=environment, capture_output=True, text=True)
    if done.returncode:
        last_words = done.stderr.strip().splitlines()[-1:] or ["it said nothing"]
        raise RuntimeError(f"the export on {TITLES[backend]} failed: {last_words[0]}")
    return done.stdout.strip().splitlines()[-1]


def main(preset, folder, format, opset, *names) -> None:
    """The process: open the preset on the backend of its environment, write, print the exporter's name."""
    import keras

    from kzoo.export.captions import onnx_towers, saved_towers
    from kzoo.export.litert import write_litert
    from kzoo.export.saved_model import write_saved_model
    from kzoo.export.torch_archive import write_torch_archives
    from kzoo.presets.loader import from_preset

    model, folder = from_preset(preset), Path(folder)
    whole = {
        "tf_saved_model": (saved_towers, write_saved_model),
        "litert": (onnx_towers, write_litert),
        "torch_export": (onnx_towers, write_torch_archives),
    }
    if format in whole:
        towers, write = whole[format]
        exporter = write(model, towers(model), folder)
    else:
        for tower in onnx_towers(model):
            if tower.name in names:
                exporter = write_onnx(tower, folder / f"{tower.name}.onnx", int(opset))
    print(f"{exporter} on {keras.config.backend()}")


if __name__ == "__main__":
    main(*sys.argv[1:])
