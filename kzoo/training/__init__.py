"""Callbacks, optimizers and the momentum teacher."""

import keras  # noqa: F401  before this room's modules, see kzoo.backend.register_with_keras

from kzoo.training.callbacks import StopOnNonFinite, TimeBudget
from kzoo.training.ema_teacher import EMATeacher
from kzoo.training.health import Health
from kzoo.training.optimizers import AdamW

__all__ = ["AdamW", "EMATeacher", "Health", "StopOnNonFinite", "TimeBudget"]
