"""Checkpoints of other libraries: how each names its tensors, and what its config says."""

import keras  # noqa: F401  before this room's modules, see kzoo.backend.register_with_keras

from kzoo.weights.mapping import Entry, check_tensors, collect_tensors, load_tensors
from kzoo.weights.tensors import TensorFiles, check_links, has_weights

__all__ = ["Entry", "TensorFiles", "check_links", "check_tensors", "collect_tensors", "has_weights", "load_tensors"]
