"""Layer norms that an exporter wrote out in its own way, found by what they compute."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from kzoo.export.optimization.values import (
    PURPOSE,
    add_weight,
    array_of,
    nodes,
    replace,
    representation,
    scalar_of,
    side_of,
    with_constant,
)
from kzoo.extras import require

FIRST_OPSET = 17  # of ONNX that has the operator
SPREADS = (1e-3, 1.0, 30.0)  # of the rows that a candidate is tried on: in the first epsilon counts
BOUND = 2e-5  # of a difference, relative to the largest number: the formulas round apart
MOST_NODES = 60


@dataclass
class Norm:
    """What a node may be the output of.

    Attributes:
        given: the value that is normalised.
        node: that gives it normalised, scaled and shifted.
        scale, bias: numbers by channel; bias may be None.
        axis: of the channels.
        epsilon: of the variance.
    """

    given: Any
    node: Any
    scale: np.ndarray
    bias: np.ndarray | None
    axis: int
    epsilon: float


def fuse_layer_norms(graph) -> None:
    """One `LayerNormalization` for the dozen of nodes that jax2onnx and tf2onnx write.

    Their forms differ, and change: a place that has the outline of a norm is computed on numbers by chance, of several
    spreads, and replaced where it gives what a norm gives.
    """
    if graph.opset_imports.get("", 0) < FIRST_OPSET:
        return
    for root in nodes(graph, "Sqrt"):
        for norm in _outlined(root):
            between = _between(norm)
            if between is not None and _is_norm(norm, between):
                _fuse(graph, norm)
                break


def _fuse(graph, norm):
    ir = representation()
    name, rank, given, made = norm.node.outputs[0].name, len(norm.given.shape), norm.given, []

    def add(kind, inputs, attributes, suffix):
        made.append(ir.Node("", kind, inputs, attributes, num_outputs=1, name=f"{name}_{suffix}"))
        made[-1].outputs[0].name = f"{name}_{suffix}"
        return made[-1].outputs[0]

    last = [axis for axis in range(rank) if axis != norm.axis] + [norm.axis]
    turned = last != [*range(rank)]
    if turned:
        given = add("Transpose", [given], [ir.AttrInt64s("perm", last)], "channels_last")
        given.shape, given.type = ir.Shape([norm.given.shape[axis] for axis in last]), norm.given.type
    weights = [add_weight(graph, f"{name}_scale", norm.scale)]
    weights += [] if norm.bias is None else [add_weight(graph, f"{name}_bias", norm.bias)]
    options = [ir.AttrInt64("axis", -1), ir.AttrFloat32("epsilon", norm.epsilon)]
    value = add("LayerNormalization", [given, *weights], options, "norm")
    value.shape, value.type = given.shape, given.type
    if turned:
        back = [int(axis) for axis in np.argsort(last)]
        value = add("Transpose", [value], [ir.AttrInt64s("perm", back)], "channels_back")
        value.shape, value.type = norm.given.shape, norm.given.type
    graph.insert_before(norm.node, made)
    replace(norm.node, value)


def _outlined(root) -> Iterator:
    """Where a root may be that of a norm: `x * m + (bias - mean * m)` with `m = scale / sqrt(variance + epsilon)`."""
    added = root.inputs[0].producer()
    epsilon = None if added is None or added.op_type != "Add" else with_constant(added)
    epsilon = None if epsilon is None else scalar_of(added.inputs[1 - epsilon[2]])
    if epsilon is None:
        return
    for inverse in _readers(root, "Reciprocal", "Div"):
        for product in _readers(inverse, "Mul"):
            scaled = with_constant(product)
            for large in _readers(product, "Mul") if scaled is not None else ():
                for last in _readers(large, "Add", "Sub"):
                    rest = next((each for each in last.inputs if each is not large.outputs[0]), None)
                    given = next((each for each in large.inputs if each is not product.outputs[0]), None)
                    norm = None if rest is None or given is None else _norm(given, last, scaled[1], rest, epsilon)
                    if norm is not None:
                        yield norm


def _readers(node, *kinds):
    return [use.node for use in node.outputs[0].uses() if use.node.op_type in kinds and not use.node.domain]


def _norm(given, last, scale, rest, epsilon):
    """None where the shape of what is given is not known, or a weight has not one number for each channel."""
    sides, shift = given.shape, rest.producer()
    known = None if sides is None else [side_of(sides, axis) is not None for axis in range(len(sides))]
    if known is None or shift is None or known[0] or not all(known[1:]):
        return None
    bias = with_constant(shift) if shift.op_type in ("Add", "Sub") else None
    along = [1] * (len(sides) - scale.ndim) + [*scale.shape]
    axis = next((axis for axis, side in enumerate(along) if side != 1), len(sides) - 1)
    if scale.ndim > len(sides) or scale.size != sides[axis] or (bias is not None and bias[1].size != scale.size):
        return None
    return Norm(given, last, scale.reshape(-1), None if bias is None else bias[1].reshape(-1), axis, epsilon)


def _between(norm):
    """The nodes that make the norm of what is given and constants, in their order; None where more goes in."""
    found, waiting = set(), [norm.node]
    while waiting:
        node = waiting.pop()
        if node in found:
            continue
        found.add(node)
        for value in node.inputs:
            if value is None or value is norm.given or array_of(value) is not None:
                continue
            if value.producer() is None or len(found) > MOST_NODES:
                return None
            waiting.append(value.producer())
    return [node for node in norm.node.graph if node in found]


def _is_norm(norm, between):
    """Whether the nodes give what a layer norm gives."""
    shape = [len(SPREADS), *norm.given.shape[1:]]
    spread = np.array(SPREADS, "float32").reshape(-1, *[1] * (len(shape) - 1))
    x = ((np.random.default_rng(0).standard_normal(shape) + 0.5) * spread).astype("float32")
    rows = np.moveaxis(x.astype("float64"), norm.axis, -1)
    rows = rows - rows.mean(axis=-1, keepdims=True)
    rows = rows / np.sqrt((rows**2).mean(axis=-1, keepdims=True) + norm.epsilon) * norm.scale
    wanted = np.moveaxis(rows if norm.bias is None else rows + norm.bias, -1, norm.axis)
    got = _computed(norm, between, x)
    return got.shape == wanted.shape and bool(np.abs(got - wanted).max() <= BOUND * max(1.0, np.abs(wanted).max()))


def _computed(norm, between, x):
    """What the nodes give for `x`, in onnxruntime."""
    ir = representation()
    onnxruntime = require("onnxruntime", "export", PURPOSE)
    read = [value for node in between for value in node.inputs if value is not None and array_of(value) is not None]
    view = ir.GraphView(
        [norm.given],
        [norm.node.outputs[0]],
        nodes=between,
        initializers=[*{value.name: value for value in read if value.is_initializer()}.values()],
        opset_imports=norm.node.graph.opset_imports,
        name="norm",
    )
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(
        ir.to_proto(ir.Model(view, ir_version=10)).SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    return session.run(None, {norm.given.name: x})[0]
