"""Checkpoints of other libraries: how each names its tensors, and what its config says."""

import keras  # noqa: F401  before this room's modules, see kzoo.backend.register_with_keras

from kzoo.weights.mapping import Entry, collect_tensors, load_tensors
from kzoo.weights.tensors import TensorFiles

__all__ = ["Entry", "TensorFiles", "collect_tensors", "load_tensors"]
