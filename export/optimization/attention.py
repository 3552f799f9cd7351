"""The keys of attention, which the exporter of torch transposes twice."""

from kzoo.export.optimization.values import array_of, nodes, permutation, reader, representation


def transpose_keys_once(graph) -> None:
    """One transpose of the last two axes for a reshape to three axes, their transpose, and a reshape back to four.

    The runtime reads the keys transposed as it multiplies them, where a transpose stands right before the product.
    """
    ir = representation()
    for node in nodes(graph, "Transpose"):
        before, after = node.inputs[0].producer(), reader(node.outputs[0])
        if permutation(node) != [0, 2, 1] or before is None or before.op_type != "Reshape":
            continue
        if after is None or after.op_type != "Reshape":
            continue
        flat, back, keys = array_of(before.inputs[1]), array_of(after.inputs[1]), before.inputs[0]
        shape = None if keys.shape is None else [each if isinstance(each, int) else -1 for each in keys.shape]
        if flat is None or back is None or shape is None or len(shape) != 4:
            continue
        if [*flat] != [-1, *shape[2:]] or [*back[1:]] != [shape[1], shape[3], shape[2]] or -1 in shape[1:]:
            continue
        turned = ir.Node("", "Transpose", [keys], [ir.AttrInt64s("perm", [0, 1, 3, 2])], num_outputs=1)
        turned.name, turned.outputs[0].name = f"{node.name}_of_four", f"{node.outputs[0].name}_of_four"
        graph.insert_before(node, turned)
        after.outputs[0].replace_all_uses_with(turned.outputs[0])
