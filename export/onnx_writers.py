"""One ONNX writer per backend: each turns a tower into a file with a dynamic batch."""

import logging
import warnings
from contextlib import contextmanager

import keras

from kzoo.extras import require

OPSET = 18
TWO_GIGABYTES = 2**31 - 1
PURPOSE = "Exporting to ONNX"


def write_onnx(tower, path):
    """Write one tower with the exporter of the running backend, tidied and checked.

    Never `keras.Model.export`: on torch it goes through TorchScript, which fails on layer norms, and on jax
    it freezes what a text tower needs dynamic.

    Args:
        tower: `kzoo.export.towers.Tower`.
        path: of the file to write.

    Returns:
        str, the exporter that wrote it.

    Raises:
        ImportError: an extra is missing.
    """
    backend = keras.config.backend()
    onnx = require("onnx", "export", PURPOSE)
    write = {"jax": _with_jax2onnx, "tensorflow": _with_tf2onnx, "torch": _with_torch}[backend]
    with _quiet_exporters():
        exporter, proto = write(tower)
    _name_batch(proto)
    proto.producer_name = "kzoo"
    onnx.helper.set_model_props(proto, {"exporter": exporter, "backend": backend})
    external = proto.ByteSize() > TWO_GIGABYTES
    onnx.save_model(proto, str(path), save_as_external_data=external, location=f"{path.name}.data")
    onnx.checker.check_model(str(path))
    return exporter


def _with_jax2onnx(tower):
    jax2onnx = require("jax2onnx", "jax", PURPOSE)
    import jax

    spec = jax.ShapeDtypeStruct(("batch", *tower.shape), tower.dtype)
    proto = jax2onnx.to_onnx(
        lambda x: tuple(tower.graph(x).values()),
        inputs=[spec],
        model_name=tower.name,
        opset=OPSET,
        input_names=[tower.input_name],
        output_names=tower.output_names,
    )
    return "jax2onnx", proto


def _with_tf2onnx(tower):
    tf2onnx = require("tf2onnx", "export", PURPOSE)
    import tensorflow as tf

    signature = [tf.TensorSpec((None, *tower.shape), tower.dtype, name=tower.input_name)]
    proto, _ = tf2onnx.convert.from_function(
        tf.function(lambda x: tower.graph(x), input_signature=signature), input_signature=signature, opset=OPSET
    )
    return "tf2onnx", proto


def _with_torch(tower):
    require("onnxscript", "export", PURPOSE)
    import torch

    class Module(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = tower.graph  # not self.graph, which is taken in the modules that torch traces to

        def forward(self, x):
            return tuple(self.layer(x).values())

    module = Module().eval()
    list(module.parameters())  # Keras registers its variables with torch when they are first asked for
    sample = keras.ops.convert_to_tensor(tower.samples[1])
    program = torch.onnx.export(
        module,
        (sample,),
        dynamo=True,
        dynamic_shapes=({0: torch.export.Dim("batch")},),
        input_names=[tower.input_name],
        output_names=tower.output_names,
        opset_version=OPSET,
        verbose=False,
    )
    return "torch.onnx", program.model_proto


@contextmanager
def _quiet_exporters():
    """The exporters warn about themselves and each other; what counts is the verification."""
    loggers = [logging.getLogger(name) for name in ("tf2onnx", "torch.onnx")]
    levels = [logger.level for logger in loggers]
    try:
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels):
            logger.setLevel(level)


def _name_batch(proto):
    """Call the leading dimension of every input and output `batch`."""
    for value in (*proto.graph.input, *proto.graph.output):
        dimension = value.type.tensor_type.shape.dim[0]
        dimension.Clear()
        dimension.dim_param = "batch"
