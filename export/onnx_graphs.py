"""All graphs of a model by way of ONNX, each verified as it is written: as they are, or turned into OpenVINO's."""

import logging

import keras

from kzoo.export.captions import onnx_towers
from kzoo.export.child import export_on
from kzoo.export.formats import FORMATS, OPSET
from kzoo.export.manifest import describe_towers
from kzoo.export.on_openvino import openvino
from kzoo.export.onnx_writers import halve, write_onnx
from kzoo.export.verify import ExportError, run_by
from kzoo.files import disk
from kzoo.files.words import said_by

logger = logging.getLogger("kzoo")


def write_onnx_graphs(model, folder, verified, opset, dtype) -> dict:
    """Write every graph of a model as ONNX.

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

    def finish(path):
        if dtype == "float16":
            halve(path)

    return _write_graphs("onnx", model, folder, verified, finish, opset)


def write_openvino_graphs(model, folder, verified, dtype) -> dict:
    """Write every graph of a model as OpenVINO's IR, a `.xml` with its weights in a `.bin`; see `write_onnx_graphs`.

    OpenVINO reads the ONNX graph itself: its function for conversion would report to its maker, and does no more.
    """
    library = openvino("Exporting to OpenVINO")

    def finish(path):
        read = library.Core().read_model(path)
        library.save_model(read, path.with_suffix(".xml"), compress_to_fp16=dtype == "float16")
        del read  # it may hold the file open
        for each in (path, path.with_name(f"{path.name}.data")):
            each.unlink(missing_ok=True)

    return _write_graphs("openvino", model, folder, verified, finish, OPSET)


def _write_graphs(format, model, folder, verified, finish, opset):
    """Every graph through the running backend's exporter, through TensorFlow's where that fails.

    Args:
        format: a name of `FORMATS`.
        finish: function of the path of an ONNX graph, which makes a graph of the format of it.
    """
    towers = onnx_towers(model)
    graphs = describe_towers(towers, format)

    def written(tower, path, exporter):
        finish(path)
        return verified(tower, exporter, run_by(format, folder, graphs, tower))

    for tower in towers:
        path = folder / FORMATS["onnx"].file.format(tower.name)
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
                exporter = export_on("tensorflow", model, folder, "onnx", [tower.name], opset)
            except ImportError as missing:
                raise ExportError(
                    f"{tower.name} could not be exported: {said_by(error)}; the other way: {missing}"
                ) from error
            result = written(tower, path, exporter)
        graphs[tower.name] |= result
    return graphs
