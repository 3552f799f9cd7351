"""Graphs with products in int8: which products a graph has, and how it is written with some of them rounded."""

from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from kzoo.export.onnx_files import names_read
from kzoo.extras import require

PURPOSE = "Quantising an export"
FOLDED = ("Cast", "Identity", "Reshape", "Squeeze", "Transpose", "Unsqueeze")  # between a weight and its product
SWITCH = "kzoo_switch"
HIGHEST = float(np.finfo("float16").max)


@dataclass(frozen=True)
class Product:
    """A product of activations with a matrix that is constant.

    Attributes:
        name: of its node, and of nothing else.
        reads: name of what is multiplied.
        weight: name of the matrix.
        matrix: float32 array `(inputs, outputs)`.
    """

    name: str
    reads: str
    weight: str
    matrix: np.ndarray


def prepared(path) -> Any:
    """A graph of float32 as the functions below take it: matrices of products are plain constants, nodes have names.

    Args:
        path: of the file.

    Returns:
        `onnx.ModelProto`.
    """
    onnx = require("onnx", "export", PURPOSE)
    from onnx.reference import ReferenceEvaluator

    proto = onnx.load(str(path))
    graph, made = proto.graph, {node.output[0]: node for node in proto.graph.node if len(node.output) == 1}
    known = {each.name: each for each in graph.initializer}

    def constant(name):
        """The array of a name that only constants lead to, None for another."""
        if name in known:
            return onnx.numpy_helper.to_array(known[name])
        node = made.get(name)
        if node is None or node.op_type not in (*FOLDED, "Constant"):
            return None
        arrays = [constant(each) for each in node.input]
        if any(each is None for each in arrays):
            return None
        return ReferenceEvaluator(node).run(None, dict(zip(node.input, arrays)))[0]

    nodes = []
    for number, node in enumerate(graph.node):
        node.name = f"{node.op_type}_{number}"
        attributes = {each.name: onnx.helper.get_attribute_value(each) for each in node.attribute}
        plain = node.op_type == "MatMul" or (node.op_type == "Gemm" and _is_plain(attributes))
        array = constant(node.input[1]) if plain else None
        if array is None or (node.op_type == "MatMul" and node.input[1] in known):
            nodes.append(node)
            continue
        turned = array.T if attributes.get("transB") else array
        weight, product = f"{node.name}_weight", f"{node.name}_product"
        graph.initializer.append(onnx.numpy_helper.from_array(np.ascontiguousarray(turned), weight))
        biased = len(node.input) > 2
        output = product if biased else node.output[0]
        nodes.append(onnx.helper.make_node("MatMul", [node.input[0], weight], [output], product))
        if biased:
            nodes.append(onnx.helper.make_node("Add", [product, node.input[2]], [*node.output], f"{node.name}_bias"))
    _set_nodes(graph, nodes)
    _drop_unread(graph)
    return proto


def _is_plain(gemm):
    """Whether the attributes of a Gemm leave a product and a sum."""
    return gemm.get("alpha", 1.0) == gemm.get("beta", 1.0) == 1.0 and not gemm.get("transA")


def products(proto) -> list:
    """The `Product`s of a graph, in its order."""
    onnx = require("onnx", "export", PURPOSE)
    floats = [each for each in proto.graph.initializer if each.data_type == onnx.TensorProto.FLOAT]
    matrices = {each.name: each for each in floats if len(each.dims) == 2}
    return [
        Product(node.name, *node.input, onnx.numpy_helper.to_array(matrices[node.input[1]]))
        for node in proto.graph.node
        if node.op_type == "MatMul" and node.input[1] in matrices
    ]


def rescaled(proto, factors) -> Any:
    """A graph that gives the same numbers, whose products are easier to round: what they read is divided, channel by
    channel, and the matrix multiplied by the same.

    Args:
        proto: of `prepared`.
        factors: dict of names of what products read -> float32 array of its channels, powers of 2, so that no bit of a
            number changes but its exponent.

    Reference:
        Xiao et al., SmoothQuant, 2023, arXiv 2211.10438.
    """
    onnx = require("onnx", "export", PURPOSE)
    copy = _copy(proto)
    graph, nodes = copy.graph, {node.name: node for node in copy.graph.node}
    places = {node.name: place for place, node in enumerate(graph.node)}
    readers, divisions = {}, []
    for each in products(copy):
        readers.setdefault(each.reads, []).append(each)
    for number, (name, factor) in enumerate(factors.items()):
        divided, divisor = f"kzoo_divided_{number}", f"kzoo_divisor_{number}"
        first = min(places[each.name] for each in readers[name])
        division = onnx.helper.make_node("Mul", [name, divisor], [divided], f"kzoo_divide_{number}")
        divisions.append((first, division))
        graph.initializer.append(onnx.numpy_helper.from_array((1.0 / factor).astype("float32"), divisor))
        for each in readers[name]:
            weight = f"{each.name}_weight"
            graph.initializer.append(onnx.numpy_helper.from_array(each.matrix * factor[:, None], weight))
            nodes[each.name].input[:] = [divided, weight]
    for first, division in sorted(divisions, key=lambda pair: pair[0], reverse=True):
        graph.node.insert(first, division)
    _drop_unread(graph)
    return copy


def with_outputs(proto, names) -> Any:
    """A graph that also gives what is within it under some names, in float32."""
    onnx = require("onnx", "export", PURPOSE)
    copy = _copy(proto)
    for name in names:
        copy.graph.output.append(onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None))
    return copy


def in_int8(proto, names) -> Any:
    """A graph whose products of these names are of int8: matrices rounded column by column, what they multiply as it
    comes.

    Written here, and not by onnxruntime's own tools, for the ranges of the weights; see `steps`.

    Args:
        proto: of `prepared`.
        names: of nodes.
    """
    taken = {each.name: each for each in products(proto) if each.name in set(names)}
    return _with_rounded(proto, taken, lambda product, node, rounded: rounded(node.output[0]))


def switched(proto, names) -> Any:
    """A graph that has these products twice, in float32 and in int8, with a further input `SWITCH`, booleans
    `(len(names),)`, which says where int8 is taken."""
    onnx = require("onnx", "export", PURPOSE)
    make = onnx.helper.make_node
    taken, places = {each.name: each for each in products(proto) if each.name in set(names)}, list(names)

    def both(product, node, rounded):
        whole, eighth, place, chosen = (f"{product.name}_{part}" for part in ("float", "int8", "place", "chosen"))
        output, node.output[0] = node.output[0], whole
        return [
            node,
            *rounded(eighth),
            make("Constant", [], [place], place, value_int=places.index(product.name)),
            make("Gather", [SWITCH, place], [chosen], chosen),
            make("Where", [chosen, eighth, whole], [output], f"{product.name}_either"),
        ]

    copy = _with_rounded(proto, taken, both)
    copy.graph.input.append(onnx.helper.make_tensor_value_info(SWITCH, onnx.TensorProto.BOOL, [len(places)]))
    return copy


def _with_rounded(proto, taken, put):
    """A graph in which some nodes have others in their place.

    Args:
        proto: of `prepared`.
        taken: dict of names of nodes -> `Product`.
        put: function of a product, its node, and a function that gives the nodes which compute it in int8 under a name,
            to a list of nodes.
    """
    onnx = require("onnx", "export", PURPOSE)
    make, from_array = onnx.helper.make_node, onnx.numpy_helper.from_array
    copy, nodes = _copy(proto), []
    graph, made, stored = copy.graph, set(), set()

    def rounded(product, output):
        given = [f"{product.reads}_{part}" for part in ("int8", "step", "zero")]
        weight = [f"{product.weight}_{part}" for part in ("int8", "step", "zero")]
        summed, cast, step = (f"{product.name}_{part}" for part in ("sum", "cast", "step"))
        if product.weight not in stored:
            step_of = steps(product.matrix)
            arrays = np.round(product.matrix / step_of).astype("int8"), step_of, np.zeros(len(step_of), "int8")
            graph.initializer.extend(from_array(array, name) for array, name in zip(arrays, weight))
            stored.add(product.weight)
        if product.reads not in made:
            made.add(product.reads)
            yield make("DynamicQuantizeLinear", [product.reads], given, f"{product.reads}_rounded")
        # as onnxruntime fuses them
        yield make("MatMulInteger", [given[0], weight[0], given[2], weight[2]], [summed], summed)
        yield make("Cast", [summed], [cast], cast, to=onnx.TensorProto.FLOAT)
        yield make("Mul", [given[1], weight[1]], [step], step)
        yield make("Mul", [cast, step], [output], f"{product.name}_scaled")

    for node in graph.node:
        product = taken.get(node.name)
        nodes += [node] if product is None else put(product, node, partial(rounded, product))
    _set_nodes(graph, nodes)
    _drop_unread(graph)
    return copy


def steps(matrix) -> np.ndarray:
    """How far the numbers of int8 lie apart, for each column of a matrix.

    Processors with AVX2 or AVX-512 but without VNNI add products of two neighbours in 16 bits, where 255 times 129 is
    too large and is cut off. So no two neighbours of one sign come to more than 128: what is measured on one processor
    holds on all, for a third of the precision that 7 bits would cost.
    """
    even = np.concatenate([matrix, np.zeros((len(matrix) % 2, matrix.shape[1]), matrix.dtype)])
    pairs = even.reshape(-1, 2, matrix.shape[1])
    largest = np.maximum(np.maximum(pairs, 0).sum(axis=1), np.maximum(-pairs, 0).sum(axis=1)).max(axis=0)
    # 127: a half is left for each of the two, by which rounding may raise it
    return np.where(largest > 0, largest / 127, 1.0).astype("float32")


def in_half(proto) -> Any:
    """A graph whose matrices and tables of float32 are stored in float16 and become float32 again when it is opened,
    or, of tables of which rows are looked up, in those rows. What float16 does not hold stays."""
    onnx = require("onnx", "export", PURPOSE)
    copy = _copy(proto)
    graph, types = copy.graph, onnx.TensorProto
    given, lookups = {each.name for each in (*graph.input, *graph.output)}, {}
    for node in graph.node:
        for place, name in enumerate(node.input):
            lookups.setdefault(name, []).append(node.op_type == "Gather" and place == 0)
    within = [attribute.g for node in graph.node for attribute in node.attribute if attribute.HasField("g")]
    kept = given | {name for each in within for name in names_read(each)}
    casts = []
    for weight in graph.initializer:
        name = weight.name
        if weight.data_type != types.FLOAT or len(weight.dims) < 2 or name in kept:
            continue
        array = onnx.numpy_helper.to_array(weight)
        if array.size == 0 or np.abs(array).max() > HIGHEST:
            continue
        halved = f"{name}_float16"
        weight.CopyFrom(onnx.numpy_helper.from_array(array.astype("float16"), halved))
        for node in [each for each in graph.node if name in each.input] if all(lookups[name]) else []:
            rows = f"{node.output[0]}_float16"
            casts.append((node, onnx.helper.make_node("Cast", [rows], [*node.output], f"{rows}_cast", to=types.FLOAT)))
            node.input[0], node.output[0] = halved, rows
        if not all(lookups[name]):
            casts.append((None, onnx.helper.make_node("Cast", [halved], [name], f"{halved}_cast", to=types.FLOAT)))
    behind = {node.name: cast for node, cast in casts if node is not None}
    nodes = [cast for node, cast in casts if node is None]
    for node in graph.node:
        nodes += [node, behind[node.name]] if node.name in behind else [node]
    _set_nodes(graph, nodes)
    return copy


def _set_nodes(graph, nodes):
    """Put nodes, some of which may be its own, in place of those of a graph."""
    nodes = [_copy(node) for node in nodes]
    del graph.node[:]
    graph.node.extend(nodes)


def _copy(proto):
    copy = type(proto)()
    copy.CopyFrom(proto)
    return copy


def _drop_unread(graph):
    """Take out of a graph the constants, and what is made of constants alone, that nothing reads."""
    while True:
        read = {each.name for each in graph.output} | set(names_read(graph))
        idle = [place for place, node in enumerate(graph.node) if not read.intersection(node.output)]
        for place in reversed(idle):
            del graph.node[place]
        if not idle:
            break
    for place in reversed(range(len(graph.initializer))):
        if graph.initializer[place].name not in read:
            del graph.initializer[place]
