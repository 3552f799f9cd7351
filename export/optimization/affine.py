"""Scales and shifts of channels, which the weights of a product or a convolution can take."""

import numpy as np

from kzoo.export.optimization.linear import by_channel, linear_before, linear_behind
from kzoo.export.optimization.values import nodes, reader, replace, with_constant

AFFINE = ("Add", "Sub", "Mul", "Div")


def merge_affine_after(graph) -> None:
    """What scales and shifts the channels behind a product or convolution goes into its weights and its bias: batch
    norms, scales of layers, a bias apart from its convolution. Also where a transpose stands between."""
    for node in nodes(graph, *AFFINE):
        found = with_constant(node)
        if found is None or found[0].shape is None:
            continue
        value, constant, of = found
        linear, axis = linear_before(value)
        numbers = None if linear is None else by_channel(constant, value, axis)
        if numbers is not None and len(node.outputs[0].shape or ()) == len(value.shape):
            if _took(linear, node.op_type, of, numbers.astype("float64")):
                replace(node, value)


def _took(linear, kind, of, numbers):
    """Whether a product took `y + c`, `y - c`, `c - y`, `y * c` or `y / c` upon itself."""
    own = linear.offsets
    if kind == "Add" or (kind == "Sub" and of == 0):
        if own is None and not linear.convolves:
            return False  # it is the bias itself
        shift = numbers if kind == "Add" else -numbers
        linear.put(offsets=shift if own is None else own + shift)
        return True
    if not linear.owns_weights or (kind == "Div" and of == 1):
        return False
    scale = {"Mul": numbers, "Div": 1.0 / numbers, "Sub": -np.ones(1)}[kind]
    shift = None if own is None else own * scale
    if kind == "Sub":
        if own is None and not linear.convolves:
            return False
        shift = numbers if shift is None else numbers + shift
    weights = linear.weights.astype("float64")
    linear.put(weights * (scale.reshape(-1, *[1] * (weights.ndim - 1)) if linear.convolves else scale), shift)
    return True


def merge_affine_before(graph) -> None:
    """What scales and shifts the channels of pixels before a product or convolution goes into its weights and bias.

    A shift does not where a convolution pads: its zeros would have to be shifted too.
    """
    while any([_merged_before(node) for node in nodes(graph, *AFFINE)]):  # what stands nearer to the product goes first
        continue


def _merged_before(node):
    found = with_constant(node)
    if found is None or found[0].shape is None or reader(node.outputs[0]) is None:
        return False
    value, constant, of = found
    linear = linear_behind(node.outputs[0])
    numbers = None if linear is None else by_channel(constant, value, len(value.shape) - 1)
    if numbers is None or linear.groups != 1 or not linear.owns_weights or (of == 1 and node.op_type in ("Sub", "Div")):
        return False
    weights = linear.weights.astype("float64")
    inner = 1 if linear.convolves else 0
    along = np.tile(numbers.astype("float64"), weights.shape[inner] // len(numbers))
    along = along.reshape([-1 if place == inner else 1 for place in range(weights.ndim)])
    if node.op_type == "Mul":
        linear.put(weights * along)
    elif node.op_type == "Div":
        linear.put(weights / along)
    elif linear.pads or linear.node.outputs[0].is_graph_output():
        return False
    else:
        kept = 0 if linear.convolves else 1
        shift = (weights * along).sum(axis=tuple(place for place in range(weights.ndim) if place != kept))
        shift = shift if node.op_type == "Add" else -shift
        linear.put(offsets=shift if linear.offsets is None else linear.offsets + shift)
    replace(node, value)
    return True
