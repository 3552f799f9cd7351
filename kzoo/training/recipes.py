"""How to train on so many pairs: what `kzoo train` does where it is not told otherwise."""

import math
from dataclasses import dataclass
from typing import Any

import keras

from kzoo.arguments import AMOUNT, COUNT, FLAG, takes
from kzoo.preprocessing.augmentation import Augmentation
from kzoo.training.optimizers import AdamW

HIGHEST = 5e-3  # learning rate of the smallest models
# up to so many pairs: pairs per batch, epochs from scratch, epochs to fine-tune, highest learning rate from scratch. Of
# few pairs in small batches a higher one learns what is told apart at once, such as colours, and stays with it.
BY_PAIRS = (
    (500, 32, 60, 10, 2e-3),
    (3_000, 64, 40, 10, 2e-3),
    (20_000, 128, 30, 8, HIGHEST),
    (200_000, 256, 20, 5, HIGHEST),
    (2_000_000, 512, 15, 3, HIGHEST),
    (math.inf, 1024, 10, 2, HIGHEST),
)
SMALL = 20_000  # pairs up to which words are left out and labels smoothed: so few captions are learnt by heart
WARMUP = 0.05  # share of the steps in which the learning rate rises
FINE_TUNING = 1 / 50  # of the learning rate from scratch


@dataclass(frozen=True)
class Recipe:
    """Numbers of a training.

    Attributes:
        batch_size, epochs: pairs per batch, passes over the pairs.
        learning_rate, weight_decay: the peak, and the decay of weight matrices.
        schedule: of the learning rate: `"cosine"`, which rises for a twentieth of the steps and falls to 0; `"linear"`,
            which falls to 0; or `"constant"`.
        augmentation: what is done to pictures: `"none"`; `"shift"`, up to a tenth of a side, and a crop of at least
            three quarters; or `"crop"`, of at least nine tenths. Nothing turns left into right or changes colours.
        word_dropout: share of the words that an epoch leaves out.
        label_smoothing: of `InfoNCE`, where a preset is trained with it.
        from_scratch: whether the weights are random at the start.
    """

    batch_size: int
    epochs: int
    learning_rate: float
    weight_decay: float
    schedule: str
    augmentation: str
    word_dropout: float
    label_smoothing: float
    from_scratch: bool


@takes(pairs=AMOUNT, parameters=COUNT, from_scratch=FLAG)
def choose_recipe(pairs, parameters, from_scratch, **given) -> Recipe:
    """The recipe for a number of pairs.

    Args:
        pairs: images of the training set, as `data.count`.
        parameters: of the model: the smaller, the higher its learning rate.
        from_scratch: whether the weights are random at the start.
        **given: fields of `Recipe` that were decided otherwise; None for those that were not.

    Returns:
        `Recipe`.

    Example:
        >>> choose_recipe(1_400, 111_105, from_scratch=True, epochs=3).epochs
        3
    """
    batch_size, scratch_epochs, tuning_epochs, highest = next(row[1:] for row in BY_PAIRS if pairs <= row[0])
    peak = min(HIGHEST, max(5e-4, 5e-4 * (1e8 / parameters) ** 0.35))
    chosen = {
        "batch_size": max(2, min(batch_size, pairs // 2)),
        "epochs": scratch_epochs if from_scratch else tuning_epochs,
        "learning_rate": float(f"{min(peak, highest) if from_scratch else peak * FINE_TUNING:.1e}"),
        "weight_decay": 0.3 if from_scratch else 0.05,
        "schedule": "cosine",
        "augmentation": "shift" if from_scratch else "crop",
        "word_dropout": 0.3 if from_scratch and pairs <= SMALL else 0.0,
        "label_smoothing": 0.1 if from_scratch and pairs <= SMALL else 0.0,
    }
    decided = {name: value for name, value in given.items() if value is not None}
    return Recipe(**chosen | decided, from_scratch=from_scratch)


def loss_of(recipe, spec) -> list:
    """The spec of a preset's loss, as the recipe has it."""
    if recipe.label_smoothing and list(spec) == [{"loss": "InfoNCE"}]:
        return [{"loss": "InfoNCE", "label_smoothing": recipe.label_smoothing}]
    return list(spec)


def augmentation_of(recipe) -> Augmentation | None:
    """The `Augmentation` of a recipe, or None."""
    return {
        "none": None,
        "shift": Augmentation(scale=(0.75, 1.0), ratio=(0.9, 1.1), shift=0.1),
        "crop": Augmentation(scale=(0.9, 1.0)),
    }[recipe.augmentation]


@takes(steps=COUNT)
def optimizer_of(recipe, steps) -> Any:
    """Muon from scratch, which learns more of few pairs, AdamW to fine-tune; their learning rate follows the schedule.

    Args:
        recipe: a `Recipe`.
        steps: of the whole training.
    """
    rate = _rate(recipe, steps)
    if recipe.from_scratch:
        return keras.optimizers.Muon(rate, weight_decay=recipe.weight_decay, adam_weight_decay=0.0)
    return AdamW(rate, weight_decay=recipe.weight_decay)


def _rate(recipe, steps):
    schedules, peak, warmup = keras.optimizers.schedules, recipe.learning_rate, max(1, round(WARMUP * steps))
    if recipe.schedule == "cosine":
        return schedules.CosineDecay(0.0, max(1, steps - warmup), warmup_target=peak, warmup_steps=warmup)
    if recipe.schedule == "linear":
        return schedules.PolynomialDecay(peak, max(1, steps), end_learning_rate=0.0)
    return peak
