"""How to train: recipes by name, and by the number of pairs what `kzoo train` does where it is not told otherwise."""

import dataclasses
import math
from dataclasses import dataclass, field
from typing import Any

import keras

from kzoo.arguments import AMOUNT, COUNT, FLAG, one_of, takes
from kzoo.losses.spec import from_spec
from kzoo.preprocessing.augmentation import Augmentation
from kzoo.training.named_recipes import NAMED
from kzoo.training.optimizers import OWN, AdamW

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
BY_COUNT = ("batch_size", "epochs", "from_scratch")  # fields that a number of pairs and a model decide


@dataclass(frozen=True)
class Recipe:
    """Numbers of a training, which `compile` takes in place of an optimizer; printed, with the reason for each.

    Attributes:
        batch_size, epochs: pairs per batch, passes over the pairs.
        learning_rate, weight_decay: the peak, and the decay of weight matrices.
        schedule: of the learning rate: `"cosine"`, which rises for a share of the steps and falls to 0; `"linear"`,
            which falls to 0; or `"constant"`.
        augmentation: what is done to pictures: `"none"`; `"shift"`, up to a tenth of a side, and a crop of at least
            three quarters; or `"crop"`, of at least nine tenths. Nothing turns left into right or changes colours.
        word_dropout: share of the words that an epoch leaves out.
        label_smoothing: of `InfoNCE`, where a preset is trained with it.
        from_scratch: whether the weights are random at the start.
        optimizer: name of one of kzoo's, see `kzoo.training.optimizers`; None: Muon from scratch, else AdamW.
        beta_2: of Adam and Lion; None: the optimizer's own.
        warmup: share of the steps in which the learning rate of `"cosine"` rises.
        clipnorm: longest gradient over all weights, None for any.
        ema: momentum of averaged weights, which the model has at the end; None for the last ones.
        layer_decay: what the learning rate of a block is multiplied by, against the block above it.
        patch_dropout: share of the patches that a step leaves out.
        locked: modalities whose towers stay as they are.
        loss: name of a loss; None for the preset's own.
        steps: of the whole training, which schedules end with; None where it is not known yet.
        name: of the recipe.
        reasons: field -> why it is so, and who says so.

    Example:
        >>> model.compile(recipe("clip_finetune", steps=5_000))
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
    optimizer: str | None = None
    beta_2: float | None = None
    warmup: float = WARMUP
    clipnorm: float | None = None
    ema: float | None = None
    layer_decay: float = 1.0
    patch_dropout: float = 0.0
    locked: tuple = ()
    loss: str | None = None
    steps: int | None = None
    name: str | None = None
    reasons: dict = field(default_factory=dict, compare=False, repr=False)

    def __str__(self) -> str:
        fields = [each.name for each in dataclasses.fields(self) if each.name not in ("name", "reasons")]
        said = {each: getattr(self, each) for each in fields if getattr(self, each) not in (None, ())}
        lines = [
            f"  {each:<16} {_written(value):<20} {self.reasons.get(each, '')}".rstrip() for each, value in said.items()
        ]
        return "\n".join([self.name or "recipe", *lines])

    def compile(self, model, **options) -> None:
        """`model.compile` as the recipe has it, which `model.compile(recipe)` calls: towers are locked first.

        Args:
            model: a model of kzoo.
            **options: of `compile`, before those of the recipe.

        Raises:
            ValueError: a schedule that ends with the training, of which the number of steps is not known.
        """
        if self.steps is None and (self.schedule != "constant" or self.ema):
            raise ValueError(
                f"the {self.schedule} schedule of this recipe ends with the training, but nobody said how many steps "
                "that has; give steps=epochs * len(data) to kzoo.training.recipe."
            )
        for modality in self.locked:
            if modality not in model.modalities():
                raise ValueError(f"the recipe locks {modality}, but the model has {', '.join(model.modalities())}.")
            model.modalities()[modality].trainable = False
        own = {"layer_decay": self.layer_decay, "patch_dropout": self.patch_dropout}
        own["loss"] = from_spec([{"loss": self.loss}] if self.loss else loss_of(self, model.loss_spec))
        given = {name: each for name, each in options.items() if each is not None}
        model.compile(optimizer_of(self, self.steps or 1), **own | given)


def _written(value):
    return ", ".join(value) if isinstance(value, tuple) else f"{value:g}" if isinstance(value, float) else str(value)


@takes(name=one_of(*NAMED), steps=COUNT)
def recipe(name, steps=None, **changes) -> Recipe:
    """How to train, by name: printed, it says what it sets, why, and who says so.

    Args:
        name: `"clip_pretrain"`, `"clip_pretrain_lion"`, `"clip_pretrain_lamb"`, `"flip_pretrain"` and `"flip_tune"`,
            `"siglip_pretrain"`, `"lit"`, `"coca_pretrain"`, `"clip_finetune"`, `"flyp"`, `"small_from_scratch"`.
        steps: of the whole training, `epochs * len(data)`, with which the learning rate comes to its end.
        **changes: fields of `Recipe` that shall be otherwise.

    Returns:
        `Recipe`, which `compile` takes in place of an optimizer, and `kzoo train` by name.

    Raises:
        ValueError: an unknown name.
        TypeError: an unknown field.

    Example:
        >>> how = kzoo.training.recipe("clip_finetune", steps=10 * len(data), batch_size=256)
        >>> print(how)
        >>> model.compile(how)
        >>> model.fit(data, epochs=how.epochs)
    """
    chosen = {each: value for each, (value, *_) in NAMED[name].items()}
    nothing = {"word_dropout": 0.0, "label_smoothing": 0.0}
    fields = [each.name for each in dataclasses.fields(Recipe) if each.name not in ("name", "reasons", "steps")]
    for each in changes:
        one_of(*fields).said(f"a field of Recipe: {', '.join(fields)}")("the change", each)
    reasons = {each: f"{why} ({who})" for each, (_, why, who) in NAMED[name].items()}
    reasons |= dict.fromkeys(changes, "as you said")
    return Recipe(**nothing | chosen | changes, steps=steps, name=name, reasons=reasons)


@takes(pairs=AMOUNT, parameters=COUNT, from_scratch=FLAG, name=one_of(*NAMED))
def choose_recipe(pairs, parameters, from_scratch, name=None, **given) -> Recipe:
    """The recipe for a number of pairs.

    Args:
        pairs: images of the training set, as `data.count`.
        parameters: of the model: the smaller, the higher its learning rate.
        from_scratch: whether the weights are random at the start.
        name: of a recipe, for all but batch size and epochs, which go by the pairs.
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
    decided = {each: value for each, value in given.items() if value is not None}
    if name is not None:
        named = {each: value for each, (value, *_) in NAMED[name].items() if each not in BY_COUNT}
        chosen |= {"word_dropout": 0.0, "label_smoothing": 0.0, "name": name} | named
    return Recipe(**chosen | decided | {"from_scratch": from_scratch})


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
    """The optimizer of a recipe, whose learning rate follows the schedule: where none is named, Muon from scratch,
    which learns more of few pairs, and AdamW to fine-tune.

    Args:
        recipe: a `Recipe`.
        steps: of the whole training.
    """
    rate, more = _rate(recipe, steps), {}
    if recipe.clipnorm:
        more["global_clipnorm"] = recipe.clipnorm
    if recipe.ema:  # an average over more than a tenth of the training would hold what it began with
        more |= {"use_ema": True, "ema_momentum": max(0.0, min(recipe.ema, 1.0 - 10.0 / steps))}
    if recipe.beta_2 and recipe.optimizer != "clip_muon":
        more["beta_2"] = recipe.beta_2
    if recipe.optimizer:
        return OWN[recipe.optimizer](rate, weight_decay=recipe.weight_decay, **more)
    if recipe.from_scratch and "beta_2" not in more:
        return keras.optimizers.Muon(rate, weight_decay=recipe.weight_decay, adam_weight_decay=0.0, **more)
    return AdamW(rate, weight_decay=recipe.weight_decay, **more)


def _rate(recipe, steps):
    schedules, peak = keras.optimizers.schedules, recipe.learning_rate
    warmup = max(1, round(recipe.warmup * steps))
    if recipe.schedule == "cosine":
        return schedules.CosineDecay(0.0, max(1, steps - warmup), warmup_target=peak, warmup_steps=warmup)
    if recipe.schedule == "linear":
        return schedules.PolynomialDecay(peak, max(1, steps), end_learning_rate=0.0)
    return peak
