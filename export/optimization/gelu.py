"""The exact GELU, in the form that runtimes know."""

import math

import numpy as np

from kzoo.export.optimization.values import add_weight, nodes, representation, with_constant

ROOT = math.sqrt(2.0)


def divide_before_erf(graph) -> None:
    """`erf(x / sqrt 2)` for `erf(x * 0.7071)`: onnxruntime makes one pass of a GELU, its bias included, but knows the
    division alone."""
    ir = representation()
    for node in nodes(graph, "Erf"):
        product = node.inputs[0].producer()
        found = with_constant(product) if product is not None and product.op_type == "Mul" else None
        if found is None or found[1].size != 1 or not math.isclose(float(found[1].reshape(())), 1 / ROOT, rel_tol=1e-6):
            continue
        root = add_weight(graph, "square_root_of_two", np.array(ROOT, found[1].dtype))
        division = ir.Node("", "Div", [found[0], root], num_outputs=1, name=f"{product.name}_divided")
        division.outputs[0].name = f"{product.outputs[0].name}_divided"
        graph.insert_before(node, division)
        node.replace_input_with(0, division.outputs[0])
