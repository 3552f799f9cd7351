"""LiteRT, formerly TensorFlow Lite: a `.tflite` file for each graph, of its built-in operators alone."""

import keras

from kzoo.export.captions import onnx_towers
from kzoo.export.child import export_on
from kzoo.export.verify import exporting, written_together
from kzoo.extras import require

PURPOSE = "Exporting to LiteRT"


def write_litert_graphs(model, folder, verified) -> dict:
    """All graphs of a model, with a batch that the interpreter resizes; see
    `kzoo.export.onnx_graphs.write_onnx_graphs`."""
    return written_together("litert", model, onnx_towers(model, shared=False), folder, write_litert, verified)


def write_litert(model, towers, folder) -> str:
    """Write the files; from jax and torch in a process that runs on TensorFlow, which has the converter.

    Returns:
        str, the exporter that wrote them.

    Raises:
        ImportError: TensorFlow is not installed.
    """
    tensorflow = require("tensorflow", "tensorflow", PURPOSE)
    if keras.config.backend() != "tensorflow":
        return export_on("tensorflow", model, folder, "litert")
    for tower in towers:
        with exporting(tower.name):
            (folder / f"{tower.name}.tflite").write_bytes(_converted(tensorflow, tower))
    return "tf.lite"


def _converted(tensorflow, tower):
    """The bytes of a graph."""
    specs = [tensorflow.TensorSpec((None, *shape), dtype, name=name) for name, (shape, dtype) in tower.inputs.items()]

    @tensorflow.function(input_signature=specs, autograph=False)
    def traced(*inputs):
        return tower.graph(*inputs)

    held = tensorflow.Module()  # by which the converter finds the weights, to make constants of them
    held.traced, held.weights = traced, [each.value for each in tower.graph.variables]
    converter = tensorflow.lite.TFLiteConverter.from_concrete_functions([traced.get_concrete_function()], held)
    converter.target_spec.supported_ops = [tensorflow.lite.OpsSet.TFLITE_BUILTINS]  # else a runtime needs TensorFlow
    return converter.convert()
