"""Callbacks and optimizers."""

import keras  # noqa: F401  before this room's modules, see kzoo.backend.register_with_keras

from kzoo.training.callbacks import StopOnNonFinite, TimeBudget
from kzoo.training.optimizers import AdamW

__all__ = ["AdamW", "StopOnNonFinite", "TimeBudget"]
