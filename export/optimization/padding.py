"""Zeros that are put around an image before a convolution, which has padding of its own."""

import numpy as np

from kzoo.export.optimization.values import array_of, nodes, permutation, reader, representation


def merge_padding(graph) -> None:
    """Let a convolution do the padding of the node before it, also through a transpose between."""
    ir = representation()
    for node in nodes(graph, "Pad"):
        sides, order = _zeros(node), None
        convolution = reader(node.outputs[0])
        if convolution is not None and convolution.op_type == "Transpose":
            order, convolution = permutation(convolution), reader(convolution.outputs[0])
        if sides is None or convolution is None or convolution.op_type != "Conv":
            continue
        before, after = sides
        if order is not None:
            before, after = before[order], after[order]
        how = convolution.attributes.get("auto_pad")
        if before[:2].any() or after[:2].any() or (how is not None and how.as_string() != "NOTSET"):
            continue
        own, spatial = convolution.attributes.get("pads"), np.concatenate([before[2:], after[2:]])
        total = spatial + np.array([0] * len(spatial) if own is None else own.as_ints())
        convolution.attributes["pads"] = ir.AttrInt64s("pads", [int(each) for each in total])
        node.outputs[0].replace_all_uses_with(node.inputs[0])
        if order is not None:  # is smaller now
            convolution.inputs[0].shape = ir.Shape([node.inputs[0].shape[axis] for axis in order])
        graph.remove(node, safe=True)


def _zeros(node):
    """How many zeros a node puts before and after each axis, as two arrays; None where it does something else."""
    how, rank = node.attributes.get("mode"), node.inputs[0].shape
    if (how is not None and how.as_string() != "constant") or len(node.inputs) > 3 or rank is None:
        return None
    given, value = array_of(node.inputs[1]), array_of(node.inputs[2]) if len(node.inputs) > 2 else None
    filled = len(node.inputs) > 2 and node.inputs[2] is not None
    if given is None or (given < 0).any() or (filled and (value is None or value.any())):
        return None
    return given[: len(rank)], given[len(rank) :]
