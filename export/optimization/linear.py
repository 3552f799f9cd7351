"""Products and convolutions with weights, and the ways from and to them along which channels stay channels."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from kzoo.export.optimization.values import (
    add_weight,
    array_of,
    permutation,
    put_behind,
    reader,
    side_of,
    with_constant,
)


@dataclass
class Linear:
    """A product or convolution with weights, and its bias.

    Attributes:
        node: `MatMul` or `Conv`.
        bias: the `Add` of a bias behind a product; None where there is none, and of a convolution.
    """

    node: Any
    bias: Any = None

    convolves = property(lambda self: self.node.op_type == "Conv")
    weights = property(lambda self: array_of(self.node.inputs[1]))
    channels = property(lambda self: self.weights.shape[0 if self.convolves else -1])

    @property
    def owns_weights(self) -> bool:
        """Whether no other node reads them: changed ones would be there beside them."""
        return len(self.node.inputs[1].uses()) == 1

    @property
    def groups(self) -> int:
        given = self.node.attributes.get("group")
        return 1 if given is None else given.as_int()

    @property
    def pads(self) -> bool:
        """Whether a convolution puts zeros around what it reads."""
        given, how = self.node.attributes.get("pads"), self.node.attributes.get("auto_pad")
        return (given is not None and any(given.as_ints())) or (how is not None and how.as_string().startswith("SAME"))

    @property
    def offsets(self) -> np.ndarray | None:
        """The numbers of the bias by channel; None where there is none."""
        if self.bias is not None:
            return with_constant(self.bias)[1].reshape(-1)
        return array_of(self.node.inputs[2]) if len(self.node.inputs) > 2 else None

    def put(self, weights=None, offsets=None) -> None:
        """Give it other weights or another bias."""
        graph, name, dtype = self.node.graph, self.node.outputs[0].name, self.weights.dtype
        if weights is not None:
            self.node.replace_input_with(1, add_weight(graph, f"{name}_weights", weights.astype(dtype)))
        if offsets is None:
            return
        offsets = np.broadcast_to(offsets, (self.channels,)).astype(dtype)
        if self.bias is not None:
            _, before, of = with_constant(self.bias)
            self.bias.replace_input_with(1 - of, add_weight(graph, f"{name}_bias", offsets.reshape(before.shape)))
        elif self.convolves:
            self.node.resize_inputs(3)
            self.node.replace_input_with(2, add_weight(graph, f"{name}_bias", offsets))
        else:
            self.bias = put_behind(self.node, "Add", add_weight(graph, f"{name}_bias", offsets))


def is_linear(node) -> bool:
    """Whether a node is a product with a matrix of weights, or a convolution with weights."""
    if node.domain or node.op_type not in ("Conv", "MatMul"):
        return False
    weights = array_of(node.inputs[1])
    if weights is None or weights.dtype.kind != "f" or (node.op_type == "MatMul" and weights.ndim != 2):
        return False
    return len(node.inputs) < 3 or node.inputs[2] is None or array_of(node.inputs[2]) is not None


def linear_before(value) -> tuple:
    """What a value is the output of, but for its bias, transposes and reshapes that leave the channels the last axis.

    Returns:
        `(Linear, axis of its channels in value)`, `(None, None)` where there is none, or something else reads what is
        between.
    """
    way, bias = [], None
    while True:
        node = value.producer()
        if node is None or reader(value) is None or node.outputs[0].shape is None:
            return None, None
        if is_linear(node):
            break
        if node.op_type == "Add" and not node.domain and bias is None and with_constant(node) is not None:
            bias = node
            way.append(node)
            value = with_constant(node)[0]
        elif node.op_type in ("Transpose", "Reshape") and not node.domain:
            way.append(node)
            value = node.inputs[0]
        else:
            return None, None
    linear = Linear(node, bias)
    axis = 1 if linear.convolves else len(node.outputs[0].shape) - 1
    for each in reversed(way):
        if each is bias:
            numbers = by_channel(with_constant(each)[1], each.outputs[0], axis)
            if linear.convolves or numbers is None or len(numbers) != linear.channels:
                return None, None
        else:
            axis = _axis_behind(each, axis)
        if axis is None:
            return None, None
    return linear, axis


def _axis_behind(node, axis):
    """Where an axis is in the output of a transpose or reshape; None where it is no axis there."""
    if node.op_type == "Transpose":
        order = permutation(node)
        return None if order is None else order.index(axis)
    before, after = node.inputs[0].shape, node.outputs[0].shape
    if before is None or axis != len(before) - 1 or side_of(before, -1) is None or before[-1] != after[-1]:
        return None
    return len(after) - 1


def by_channel(constant, value, axis) -> np.ndarray | None:
    """The numbers of a constant by channel, or one for all; None where it differs along another axis.

    Args:
        constant: array that is broadcast with a value.
        value: `ir.Value` whose shape is known.
        axis: of its channels.
    """
    rank = len(value.shape)
    if constant.ndim > rank or constant.dtype.kind != "f":
        return None
    if constant.size == 1:
        return constant.reshape(1)
    sides = [1] * (rank - constant.ndim) + [*constant.shape]
    if any(side != 1 for place, side in enumerate(sides) if place != axis) or sides[axis] != value.shape[axis]:
        return None
    return constant.reshape(-1)


def linear_behind(value) -> Linear | None:
    """What alone reads a value, whose last axis are channels, with those channels as the last of its inner ones: where
    there are only transposes and reshapes between, as of pictures that are cut into patches."""
    if value.shape is None or side_of(value.shape, -1) is None:
        return None
    channels, last = value.shape[-1], len(value.shape) - 1
    while True:
        node = reader(value)
        if node is None or node.domain or node.outputs[0].shape is None:
            return None
        if node.op_type == "Transpose" and permutation(node):
            last = permutation(node).index(last)
        elif node.op_type == "Reshape":
            side = side_of(node.outputs[0].shape, -1)
            if last != len(value.shape) - 1 or side is None or side % channels:
                return None
            last = len(node.outputs[0].shape) - 1
        elif is_linear(node) and node.inputs[0] is value:
            inner = 1 if node.op_type == "Conv" else len(value.shape) - 1
            return Linear(node, _bias_behind(node)) if last == inner else None
        else:
            return None
        value = node.outputs[0]


def _bias_behind(node):
    added = reader(node.outputs[0])
    if node.op_type == "Conv" or added is None or added.op_type != "Add" or added.domain:
        return None
    found = with_constant(added)
    fits = found is not None and found[1].size == array_of(node.inputs[1]).shape[-1] == found[1].shape[-1]
    return added if fits else None
