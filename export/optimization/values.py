"""What the passes ask of a graph: constants, who reads a value, and new weights."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from kzoo.extras import require

PURPOSE = "Exporting to ONNX"


def representation() -> Any:
    """The module that graphs are read and changed with."""
    require("onnxscript", "export", PURPOSE)
    from onnxscript import ir

    return ir


def array_of(value) -> np.ndarray | None:
    """The numbers of a value that is a constant, None of any other.

    Args:
        value: `ir.Value`, or None.
    """
    if value is None or value.is_graph_input():
        return None
    tensor = representation().convenience.get_const_tensor(value)
    return None if tensor is None else np.asarray(tensor.numpy())


def scalar_of(value) -> float | None:
    """The number of a constant that is one number, None of any other value."""
    found = array_of(value)
    return float(found.reshape(())) if found is not None and found.size == 1 else None


def reader(value) -> Any:
    """The node that alone reads a value; None where several do, or the graph gives it."""
    uses = [*value.uses()]
    return uses[0].node if len(uses) == 1 and not value.is_graph_output() else None


def nodes(graph, *kinds) -> Iterator:
    """The nodes of some operators of ONNX, in their order, while others of the graph are changed."""
    for node in [*graph]:
        if node.graph is graph and node.domain == "" and node.op_type in kinds:
            yield node


def with_constant(node) -> tuple | None:
    """Of a node of two inputs, one of them a constant: `(other value, constant, index of the other)`, else None."""
    if len(node.inputs) != 2:
        return None
    found = [array_of(each) for each in node.inputs]
    if (found[0] is None) == (found[1] is None):
        return None
    of = 0 if found[0] is None else 1
    return node.inputs[of], found[1 - of], of


def add_weight(graph, name, array) -> Any:
    """A new weight of a graph.

    Args:
        graph: `ir.Graph`.
        name: that it is called by, with a number where that name is taken.
        array: its numbers.
    """
    ir, number, own = representation(), 0, name
    while own in graph.initializers:
        number += 1
        own = f"{name}_{number}"
    tensor = ir.tensor(np.ascontiguousarray(array), name=own)
    value = ir.Value(name=own, shape=tensor.shape, type=ir.TensorType(tensor.dtype), const_value=tensor)
    graph.register_initializer(value)
    return value


def replace(node, value) -> None:
    """Let everybody who reads the only output of a node read a value in its place, and remove the node."""
    old = node.outputs[0]
    if old.is_graph_output():  # keeps its name, which is that of the interface
        value.name, old.name = old.name, f"{old.name}_before"
    old.replace_all_uses_with(value, replace_graph_outputs=True)
    node.graph.remove(node, safe=True)


def put_behind(node, kind, weight) -> Any:
    """A new node, of two inputs, between the only output of a node and everybody who reads it.

    Args:
        node: `ir.Node`.
        kind: operator of ONNX that leaves the shape as it is.
        weight: its second input.
    """
    ir, value = representation(), node.outputs[0]
    made = ir.Node("", kind, [value, weight], num_outputs=1, name=f"{node.name}_{kind.lower()}")
    found = made.outputs[0]
    found.name, found.shape, found.type = f"{value.name}_{kind.lower()}", value.shape, value.type
    value.replace_all_uses_with(found)
    made.replace_input_with(0, value)
    node.graph.insert_after(node, made)
    return made


def side_of(shape, axis) -> int | None:
    """One side of a shape, None where it varies."""
    return shape[axis] if isinstance(shape[axis], int) else None


def permutation(node) -> list | None:
    """The axes of a `Transpose`."""
    given = node.attributes.get("perm")
    return None if given is None else [*given.as_ints()]
