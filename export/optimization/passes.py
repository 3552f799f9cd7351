"""The passes in their order."""

from typing import Any

from kzoo.export.optimization.affine import merge_affine_after, merge_affine_before
from kzoo.export.optimization.attention import transpose_keys_once
from kzoo.export.optimization.gelu import divide_before_erf
from kzoo.export.optimization.layer_norm import fuse_layer_norms
from kzoo.export.optimization.padding import merge_padding
from kzoo.export.optimization.shapes import drop_whole_slices, infer_shapes, settle_shapes
from kzoo.export.optimization.values import PURPOSE, representation
from kzoo.extras import require

PASSES = (  # functions of a graph; each makes way for those behind it
    settle_shapes,
    drop_whole_slices,
    fuse_layer_norms,
    merge_padding,
    merge_affine_after,
    merge_affine_before,
    transpose_keys_once,
    divide_before_erf,
)
ANY_SIZE = 2**62  # of a constant that is folded; what comes out larger than what went in is not kept


def optimized(proto) -> Any:
    """A graph that gives the same numbers, but for rounding, in fewer passes over memory.

    What the runtime does by itself as it opens a graph is left to it. What it does not: norms that an exporter wrote
    out become one node, scales and biases behind a product or a convolution, and the scale of the pixels before it, go
    into its weights, and so does padding; keys are transposed once; what knows only constants is computed. No operator
    is used that ONNX does not have.

    Args:
        proto: `onnx.ModelProto`.

    Returns:
        `onnx.ModelProto`.
    """
    ir = representation()
    optimizer = require("onnxscript", "export", PURPOSE).optimizer
    model = ir.from_proto(proto)
    optimizer.optimize(model, input_size_limit=ANY_SIZE)
    infer_shapes(model)
    for each in PASSES:
        each(model.graph)
    model.graph.sort()  # what a pass moves may stand before what it reads
    optimizer.optimize(model, input_size_limit=ANY_SIZE)
    return ir.to_proto(model)
