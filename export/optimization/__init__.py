"""Graphs of ONNX as exporters write them to the same graphs with fewer passes over memory."""

from kzoo.export.optimization.passes import optimized

__all__ = ["optimized"]
