"""Graphs of ONNX as files, and what they read. No Keras here."""

from collections.abc import Iterator

from kzoo.extras import require

TWO_GIGABYTES = 2**31 - 1


def save(proto, path, check=True) -> None:
    """Write a graph, its weights beside it where one file would be too large, and look whether it is a whole one."""
    onnx = require("onnx", "export", "Writing ONNX")
    external = proto.ByteSize() > TWO_GIGABYTES
    onnx.save_model(proto, str(path), save_as_external_data=external, location=f"{path.name}.data")
    if check:
        onnx.checker.check_model(str(path))


def names_read(graph) -> Iterator:
    """Names that the nodes of a graph read, and those of the graphs within them, such as the body of a loop."""
    for node in graph.node:
        yield from node.input
        for attribute in node.attribute:
            if attribute.HasField("g"):
                yield from names_read(attribute.g)
