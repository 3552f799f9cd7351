"""One ONNX writer per backend: each turns a tower into a file with a dynamic batch."""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import keras
import numpy as np

from kzoo.export.formats import OPSET
from kzoo.export.manifest import SHARED
from kzoo.export.onnx_files import names_read, save
from kzoo.export.optimization import optimized
from kzoo.export.torch_tracing import leaving_out_casts, without_stacks
from kzoo.extras import require

# operators that stay in float32 in a graph of float16: norms and softmaxes, whose sums overflow
IN_FLOAT32 = ("LayerNormalization", "ReduceMean", "ReduceSum", "ReduceL2", "Pow", "Sqrt", "Reciprocal", "Softmax")
LARGE = 2**16  # numbers of a weight
PURPOSE = "Exporting to ONNX"


def check_opset(opset) -> None:
    """Stops at a version of ONNX's operators that the library installed here does not know.

    Raises:
        ValueError: that.
        ImportError: the library is missing.
    """
    latest = require("onnx", "export", "Writing ONNX").defs.onnx_opset_version()
    if opset > latest:
        raise ValueError(f"opset is {opset}, but the onnx that is installed here knows versions up to {latest}.")


def write_onnx(tower, path, opset=OPSET) -> str:
    """Write one tower with the exporter of the running backend, optimised and checked.

    Never `keras.Model.export`: on torch it goes through TorchScript, which fails on layer norms, and on jax
    it freezes what a text tower needs dynamic.

    Args:
        tower: `kzoo.export.towers.Tower`.
        path: of the file to write.
        opset: version of ONNX's operators.

    Returns:
        str, the exporter that wrote it.

    Raises:
        ImportError: an extra is missing.
        RuntimeError: the exporter wrote another opset.
    """
    backend = keras.config.backend()
    onnx = require("onnx", "export", PURPOSE)
    write = {"jax": _with_jax2onnx, "tensorflow": _with_tf2onnx, "torch": _with_torch}[backend]
    with quiet_exporters():
        exporter, proto = write(tower, opset)
    written = next(each.version for each in proto.opset_import if not each.domain)
    if written != opset:
        raise RuntimeError(f"{exporter} wrote opset {written}, not {opset}; choose another opset, such as {OPSET}.")
    with quiet_exporters():
        proto = optimized(proto)
    _forget_sources(proto.graph)
    _name_batch(proto, tower.shared)
    proto.producer_name = "kzoo"
    onnx.helper.set_model_props(proto, {"exporter": exporter, "backend": backend})
    save(proto, path)
    return exporter


def halve(path) -> None:
    """Turn the weights and products of a graph on disk into float16; what goes in and comes out keeps its type."""
    onnx = require("onnx", "export", PURPOSE)
    require("onnxruntime", "export", PURPOSE)
    from onnxruntime.transformers import float16
    from onnxruntime.transformers.onnx_model import OnnxModel

    with quiet_exporters():
        kept = [*float16.DEFAULT_OP_BLOCK_LIST, *IN_FLOAT32]
        proto = float16.convert_float_to_float16(onnx.load(str(path)), keep_io_types=True, op_block_list=kept)
        made = set()
        for node in list(proto.graph.node):  # what several nodes read is cast once for each, under one name
            if made.intersection(node.output):
                proto.graph.node.remove(node)
            made.update(node.output)
        OnnxModel.graph_topological_sort(proto.graph)  # casts were put behind what reads them
    path.with_name(f"{path.name}.data").unlink(missing_ok=True)
    save(proto, path)


def _with_jax2onnx(tower, opset):
    jax2onnx = require("jax2onnx", "jax-export", PURPOSE)
    import jax

    proto = jax2onnx.to_onnx(
        lambda *inputs: tuple(tower.graph(*inputs).values()),
        inputs=[jax.ShapeDtypeStruct(("batch", *shape), dtype) for shape, dtype in tower.inputs.values()],
        model_name=tower.name,
        opset=opset,
        input_names=list(tower.inputs),
        output_names=list(tower.outputs),
    )
    return "jax2onnx", proto


def _with_tf2onnx(tower, opset):
    tf2onnx = require("tf2onnx", "export", PURPOSE)
    import tensorflow as tf

    # tf2onnx copies what is constant some fifty times, so large weights stand beside the graph while it works
    variables = [each for each in tower.graph.variables if len(each.shape) == 2 and np.prod(each.shape) >= LARGE]
    large = {f"kzoo_weight_{number}": each for number, each in enumerate(variables)}
    names = [*tower.inputs, *large]
    specs = [((None, *shape), dtype) for shape, dtype in tower.inputs.values()]
    specs += [(tuple(each.shape), each.dtype) for each in variables]
    signature = [tf.TensorSpec(shape, dtype, name=name) for name, (shape, dtype) in zip(names, specs)]

    @tf.autograph.experimental.do_not_convert
    def traced(*inputs):
        with keras.StatelessScope(list(zip(variables, inputs[len(tower.inputs) :]))):
            return tower.graph(*inputs[: len(tower.inputs)])

    function = tf.function(traced, input_signature=signature)
    proto, _ = tf2onnx.convert.from_function(
        function, input_signature=signature, opset=opset, custom_op_handlers={"Erfc": (_erfc, [])}
    )
    # tensors that a layer keeps, such as the positions of keras-hub's ViT, come as further inputs too
    captures = function.get_concrete_function().graph.captures
    _embed(proto, {inside.name: outside for outside, inside in captures} | large)
    return "tf2onnx", proto


def _erfc(graph, node, name, arguments):
    """`1 - erf(x)` for the `Erfc` of TensorFlow's exact GELU, which ONNX does not have."""
    shapes, dtypes, one = node.output_shapes, node.output_dtypes, np.array(1.0, "float32")
    graph.remove_node(name)
    erf = graph.make_node("Erf", node.input, shapes=shapes, dtypes=dtypes)
    inputs = [graph.make_const(f"{name}_one", one).output[0], erf.output[0]]
    return graph.make_node("Sub", inputs, name=name, outputs=node.output, shapes=shapes, dtypes=dtypes)


def _embed(proto, values):
    """Make inputs of a graph weights of it, those that are named in `values`; what no node reads is left out."""
    onnx = require("onnx", "export", PURPOSE)
    read = set(names_read(proto.graph))
    for each in [each for each in proto.graph.input if each.name in values]:
        if each.name in read:
            array = keras.ops.convert_to_numpy(values[each.name])
            proto.graph.initializer.append(onnx.numpy_helper.from_array(array, each.name))
        proto.graph.input.remove(each)


def traceable(tower) -> tuple:
    """A tower as torch traces it.

    Returns:
        `(module, sample)`: a `torch.nn.Module` that gives a tuple of tensors, and a tuple of what it takes.
    """
    import torch

    class Module(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = tower.graph  # not self.graph, which is taken in the modules that torch traces to

        def forward(self, *inputs):
            with leaving_out_casts():
                return tuple(self.layer(*inputs).values())

    module = Module().eval()
    list(module.parameters())  # Keras registers its variables with torch when they are first asked for
    return module, tuple(keras.ops.convert_to_tensor(array) for array in tower.example.values())


def _with_torch(tower, opset):
    require("onnxscript", "export", PURPOSE)
    import torch

    module, sample = traceable(tower)
    batch = torch.export.Dim("batch")
    with without_stacks():
        program = torch.onnx.export(
            module,
            sample,
            dynamo=True,
            dynamic_shapes=(tuple({0: batch} for _ in sample),),  # of the arguments that `*inputs` takes
            input_names=list(tower.inputs),
            output_names=list(tower.outputs),
            opset_version=opset,
            verbose=False,
            optimize=False,  # as `optimized` does that
        )
    return "torch.onnx", program.model_proto


@contextmanager
def quiet_exporters() -> Iterator:
    """The exporters warn about themselves and each other; what counts is the verification."""
    loggers = [logging.getLogger(name) for name in ("tf2onnx", "torch.onnx", "onnxscript")]
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


def _forget_sources(graph):
    """Leave out what exporters note of the code that made a node: a stack with the paths of this machine for each."""
    del graph.metadata_props[:]
    for each in (*graph.node, *graph.value_info, *graph.input, *graph.output, *graph.initializer):
        each.doc_string = ""
        del each.metadata_props[:]
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.HasField("g"):
                _forget_sources(attribute.g)


def _name_batch(proto, shared):
    """Call the leading dimension of every input and output `batch`, of `shared` ones by their own name: a product
    spreads a row that they have alone over all others."""
    if shared:
        del proto.graph.value_info[:]  # which says `batch` within
    for value in (*proto.graph.input, *proto.graph.output):
        dimension = value.type.tensor_type.shape.dim[0]
        dimension.Clear()
        dimension.dim_param = SHARED if value.name in shared else "batch"
