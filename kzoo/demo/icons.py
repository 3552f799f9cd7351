"""What the demos have in common: icons with names, a preset without weights, some minutes of training."""

import platform
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import keras
import numpy as np
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

import kzoo
from kzoo.data.icon_fonts import icons
from kzoo.extras import require
from kzoo.training import TimeBudget

FEWEST_STEPS = 60  # in which a demo learns what can be told from chance


@dataclass
class Findings:
    """What every report shows."""

    preset: str
    images: np.ndarray  # of the test part, as the model sees them
    pictures: np.ndarray  # the same, as people see them
    captions: list
    parameters: int
    backend: str
    trained_on: int
    minutes: float = 0.0
    steps: int = 0
    losses: dict = field(default_factory=dict)  # name of the term -> its mean over each epoch


@contextmanager
def cut_captions_said_once() -> Iterator:
    """The demos say themselves how many captions are cut, and not each time that they are read."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".* longer than the context")
        yield


def begin(preset, packages, findings, console) -> tuple:
    """A model without weights, and the icons that it is trained and measured on.

    Args:
        preset: name of a preset that learns its vocabulary from captions.
        packages: names of those that the demo needs, asked for before minutes of training and not after.
        findings: `Findings` or a subclass.
        console: a `rich.console.Console`.

    Returns:
        `(model, train, test, found)`: two sources for `kzoo.data.pairs`, and the findings so far.
    """
    for package in packages:
        require(package, "demo", "The demo")
    keras.utils.set_random_seed(0)
    model = kzoo.from_preset(preset, load_weights=False)
    size = model.image_encoder.image_size[0]
    train, test = icons("train", size), icons("test", size)
    model.preprocessor.adapt(train["captions"])
    found = findings(
        preset=preset,
        images=test["images"],
        pictures=icons("test", size=64)["images"],
        captions=test["captions"],
        parameters=model.count_params(),
        backend=keras.config.backend(),
        trained_on=len(train["captions"]),
    )
    console.print(
        f"{preset} ({found.parameters:,} parameters) on {found.backend}, Python {platform.python_version()}: "
        f"{found.trained_on:,} icons to train on, {len(found.captions)} held out"
    )
    tokenizer = model.preprocessor.tokenizer
    cut, cut_in_training = (tokenizer.encode(part["captions"])[1] for part in (test, train))
    if cut or cut_in_training:
        console.print(
            f"{cut} captions of the held-out icons, and {cut_in_training} of the others, are longer than the context "
            f"of {tokenizer.context_length} ids and are cut"
        )
    return model, train, test, found


def train_for(minutes, model, data, learning_rate, found, console) -> None:
    """`fit` a compiled model for some minutes under a progress bar; minutes and losses go into the findings."""
    budget = TimeBudget(minutes, learning_rate)
    columns = (TextColumn("[progress.description]{task.description}"), BarColumn(), TimeElapsedColumn())
    begun = time.monotonic()
    with Progress(*columns, console=console) as progress:
        watch = _Watch(budget, progress, found.losses)
        model.fit(data, epochs=100_000, verbose=0, callbacks=[budget, watch])
    found.minutes, found.steps = (time.monotonic() - budget.started) / 60, watch.steps
    if found.steps < FEWEST_STEPS:
        console.print(
            f"nothing was learned: {found.steps} steps are too few; the first of them, most of it compilation, took "
            f"{budget.started - begun:.0f} seconds before the {minutes:g} minutes began; give more --minutes"
        )


class _Watch(keras.callbacks.Callback):
    """Moves the progress bar by the clock and keeps the losses of each epoch."""

    def __init__(self, budget, progress, losses):
        super().__init__()
        self.budget, self.progress, self.losses = budget, progress, losses
        self.task = progress.add_task("compiling the first step", total=1.0)
        self.epoch = self.steps = 0

    def on_epoch_begin(self, epoch, logs=None) -> None:
        self.epoch = epoch

    def on_train_batch_end(self, batch, logs=None) -> None:
        self.steps += 1
        terms = "  ".join(f"{name} {logs[name]:.3f}" for name in self._terms(logs))
        text = f"epoch {self.epoch + 1}  {terms}  accuracy {logs['in_batch_accuracy']:.0%}"
        self.progress.update(self.task, completed=self.budget.spent(), description=text)

    def on_epoch_end(self, epoch, logs=None) -> None:
        for name in self._terms(logs):
            self.losses.setdefault(name, []).append(float(logs[name]))

    @staticmethod
    def _terms(logs):
        return [name for name in logs if name not in ("loss", "in_batch_accuracy")]
