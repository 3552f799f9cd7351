"""Shapes that an exporter computes in the graph though they are known, all but the batch."""

import numpy as np

from kzoo.export.optimization.values import add_weight, array_of, nodes, representation, side_of

LONGEST = 2**31 - 1  # which stands for the end of an axis that varies


def infer_shapes(model) -> None:
    """Note the shape of every value that follows from those of the inputs.

    Args:
        model: `ir.Model`.
    """
    representation()
    from onnx_ir.passes import common

    common.ShapeInferencePass(data_prop=True)(model)


def sides_of(value) -> list | None:
    """The shape of a value, None where a side varies; None where nothing is known of it."""
    if value is None or value.shape is None:
        return None
    return [side if isinstance(side, int) else None for side in value.shape]


def settle_shapes(graph) -> None:
    """Write what is reshaped or expanded to as a constant where it is computed from shapes: of a reshape with -1 for
    the batch, of an expansion where no side varies, such as that of a mask."""
    for node in nodes(graph, "Reshape", "Expand"):
        if array_of(node.inputs[1]) is not None:
            continue
        target = _numbers(node.inputs[1])
        free = 1 if node.op_type == "Reshape" else 0
        if target is None or target.count(None) > free or -1 in target or 0 in target:
            continue
        settled = np.array([-1 if side is None else side for side in target], "int64")
        node.replace_input_with(1, add_weight(graph, f"{node.outputs[0].name}_shape", settled))


def drop_whole_slices(graph) -> None:
    """Leave out a slice that takes all of what it is given."""
    for node in nodes(graph, "Slice"):
        value, given = node.inputs[0], [array_of(each) for each in node.inputs[1:]]
        if value.shape is None or len(given) < 3 or any(each is None for each in given):
            continue
        starts, ends, axes, *steps = (each.reshape(-1) for each in given)
        whole = all(
            start == 0 and (end >= LONGEST or (side_of(value.shape, int(axis)) or LONGEST) <= end)
            for start, end, axis in zip(starts, ends, axes)
        )
        if whole and all((each == 1).all() for each in steps) and not node.outputs[0].is_graph_output():
            node.outputs[0].replace_all_uses_with(value)
            graph.remove(node, safe=True)


def _numbers(value):
    """What is known of a vector of whole numbers that is made of shapes: a list, None for each that varies."""
    found = array_of(value)
    if found is not None:
        return None if found.ndim > 1 else [int(each) for each in found.reshape(-1)]
    node = value.producer()
    if node is None or node.domain:
        return None
    read = _READ.get(node.op_type)
    return None if read is None else read(node)


def _of_shape(node):
    sides = sides_of(node.inputs[0])
    if sides is None:
        return None
    start, end = (node.attributes.get(name) for name in ("start", "end"))
    return sides[start.as_int() if start else 0 : end.as_int() if end else None]


def _of_concat(node):
    parts = [_numbers(each) for each in node.inputs]
    # a -1 says that a side follows from the others, as an unknown one does
    return None if None in parts else [None if side == -1 else side for part in parts for side in part]


def _of_slice(node):
    whole, given = _numbers(node.inputs[0]), [array_of(each) for each in node.inputs[1:]]
    if whole is None or any(each is None or each.size != 1 for each in given):
        return None
    start, end, *more = (int(each.reshape(())) for each in given)
    step = more[1] if len(more) > 1 else 1
    return whole[slice(start, end, step)]


def _of_gather(node):
    whole, places = _numbers(node.inputs[0]), array_of(node.inputs[1])
    if whole is None or places is None or places.ndim > 1:
        return None
    return [whole[int(place)] for place in places.reshape(-1)]


def _as_it_is(node):
    return _numbers(node.inputs[0])


_READ = {
    "Shape": _of_shape,
    "Concat": _of_concat,
    "Slice": _of_slice,
    "Gather": _of_gather,
    **dict.fromkeys(("Cast", "Identity", "Squeeze", "Unsqueeze"), _as_it_is),
}
