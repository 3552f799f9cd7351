"""Scales and shifts of channels, which the weights of a product or a convolution can take."""

import numpy as np

from kzoo.export.optimization.linear import by_channel, linear_before, linear_behind
from kzoo.export.optimization.values import add_weight, nodes, put_behind, reader, replace, with_constant

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
    """What scales the channels of pixels before a product or convolution goes into its weights.

    What shifts them stays before it, in the pixels' own units: in a sum of products with pixels from 0 to 255 the same
    shift would be the difference of two large numbers, at the cost of some bits of the result. So a shift behind a
    scale goes before it.
    """
    while any([_merged_before(node) for node in nodes(graph, *AFFINE)]):  # what stands nearer to the product goes first
        continue


def _merged_before(node):
    found = with_constant(node)
    if found is None or found[0].shape is None or reader(node.outputs[0]) is None:
        return False
    value, constant, of = found
    linear = linear_behind(node.outputs[0])
    if linear is None or linear.groups != 1 or not linear.owns_weights:
        return False
    if node.op_type in ("Add", "Sub"):
        return _shifted_first(node, value, constant, of)
    numbers = by_channel(constant, value, len(value.shape) - 1)
    if numbers is None or (of == 1 and node.op_type == "Div"):
        return False
    weights = linear.weights.astype("float64")
    inner = 1 if linear.convolves else 0
    along = np.tile(numbers.astype("float64"), weights.shape[inner] // len(numbers))
    along = along.reshape([-1 if place == inner else 1 for place in range(weights.ndim)])
    linear.put(weights * along if node.op_type == "Mul" else weights / along)
    replace(node, value)
    return True


def _shifted_first(node, value, constant, of):
    """Whether `x s + c` became `(x + c / s) s`; so may `x s - c`, `c - x s`, and what divides."""
    scale = value.producer()
    found = with_constant(scale) if scale is not None and not scale.domain and reader(value) is node else None
    if found is None or scale.op_type not in ("Mul", "Div") or (scale.op_type == "Div" and found[2] == 1):
        return False
    before, numbers, _ = found
    along = by_channel(numbers, value, len(value.shape) - 1)
    shift = by_channel(constant, value, len(value.shape) - 1)
    if along is None or shift is None or before.shape is None or len(before.shape) != len(value.shape):
        return False
    along = along.astype("float64") if scale.op_type == "Mul" else 1.0 / along.astype("float64")
    if not (np.isfinite(along) & (along != 0.0)).all():
        return False
    graph, name = node.graph, node.outputs[0].name
    node.replace_input_with(of, before)
    node.replace_input_with(1 - of, add_weight(graph, f"{name}_shift", (shift / along).astype(constant.dtype)))
    put_behind(node, "Mul", add_weight(graph, f"{name}_scale", along.astype(constant.dtype)))
    graph.remove(scale, safe=True)
    return True
