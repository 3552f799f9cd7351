"""Callbacks, optimizers, recipes, what becomes of gradients, and the momentum teacher."""

from kzoo.training.callbacks import StopOnNonFinite, TimeBudget
from kzoo.training.ema_teacher import EMATeacher
from kzoo.training.fixed_teacher import FixedTeacher
from kzoo.training.gradients import SAM, GradientPolicy, GradientSum, Harmonised, MetaStep, PCGrad
from kzoo.training.health import Health
from kzoo.training.optimizers import AdamW, Lamb, Lion, Muon
from kzoo.training.patch_dropout import PatchDropout
from kzoo.training.progress import Progress
from kzoo.training.recipes import Recipe, recipe
from kzoo.training.resume import Resume

__all__ = [
    "SAM",
    "AdamW",
    "EMATeacher",
    "FixedTeacher",
    "GradientPolicy",
    "GradientSum",
    "Harmonised",
    "Health",
    "Lamb",
    "Lion",
    "MetaStep",
    "Muon",
    "PCGrad",
    "PatchDropout",
    "Progress",
    "Recipe",
    "Resume",
    "StopOnNonFinite",
    "TimeBudget",
    "recipe",
]
