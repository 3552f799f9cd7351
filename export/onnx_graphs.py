"""All graphs of a model in ONNX, each verified as it is written."""

import logging

import keras

from kzoo.export.captions import onnx_towers
from kzoo.export.child import export_in_tensorflow
from kzoo.export.manifest import describe_towers
from kzoo.export.onnx_writers import halve, write_onnx
from kzoo.export.verify import ExportError, run_onnx
from kzoo.files import disk
from kzoo.files.words import said_by

logger = logging.getLogger("kzoo")


def write_onnx_graphs(model, folder, verified, opset, dtype) -> dict:
    """Every graph through the running backend's exporter, through TensorFlow's where that fails.

    Args:
        model: as it leaves, in float32.
        folder: path.
        verified: function of a tower, the name of its exporter and what the graph gives on the tower's samples, which
            compares them with the model and gives what the manifest says of it.
        opset: version of ONNX's operators.
        dtype: of the weights.

    Returns:
        dict: the `graphs` of the manifest.
    """
    towers = onnx_towers(model)
    graphs = describe_towers(towers, "onnx")

    def written(tower, path, exporter):
        if dtype == "float16":
            halve(path)
        return verified(tower, exporter, run_onnx(path, tower))

    for tower in towers:
        path = folder / graphs[tower.name]["file"]
        try:
            result = written(tower, path, write_onnx(tower, path, opset))
        except ImportError:
            raise
        except Exception as error:  # exporters raise anything at all
            if disk.number_of(error) is not None:  # another exporter has no more room on the disk
                raise
            if keras.config.backend() == "tensorflow":
                raise ExportError(f"{tower.name} could not be exported: {said_by(error)}.") from error
            logger.warning("%s: %s. Trying again through TensorFlow.", tower.name, said_by(error))
            try:
                exporter = export_in_tensorflow(model, folder, "onnx", [tower.name], opset)
            except ImportError as missing:
                raise ExportError(
                    f"{tower.name} could not be exported: {said_by(error)}; the other way: {missing}"
                ) from error
            result = written(tower, path, exporter)
        graphs[tower.name] |= result
    return graphs
