"""Checkpoints of other libraries: how each names its tensors, and what its config says."""

from kzoo.weights.mapping import Entry, check_tensors, collect_tensors, load_tensors
from kzoo.weights.tensors import TensorFiles, check_links, has_weights

__all__ = ["Entry", "TensorFiles", "check_links", "check_tensors", "collect_tensors", "has_weights", "load_tensors"]
