"""Callbacks, optimizers and the momentum teacher."""

from kzoo.training.callbacks import StopOnNonFinite, TimeBudget
from kzoo.training.ema_teacher import EMATeacher
from kzoo.training.health import Health
from kzoo.training.optimizers import AdamW

__all__ = ["AdamW", "EMATeacher", "Health", "StopOnNonFinite", "TimeBudget"]
