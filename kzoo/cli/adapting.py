"""Who works for `kzoo adapt`: embeds, trains, and shows how far it is."""

from typing import Any

import keras
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from kzoo.adaptation.adapt import Plain
from kzoo.cli.parts import in_steps
from kzoo.cli.terminal import console
from kzoo.types import Array


class Worker(Plain):
    """As of `kzoo.adapt`, with what is left out said in the terminal's words."""

    def left_out(self, problem) -> None:
        console.print(problem, style="yellow", markup=False, highlight=False)


class Shown(Worker):
    """The same, with a bar for each part."""

    def embed(self, encoder, images, name) -> Array:
        return in_steps(encoder.encode_image, images, self.batch_size, name)

    def callbacks(self, epochs) -> list:
        return [Bar(epochs)]


class Bar(keras.callbacks.Callback):
    """A bar of the epochs of a training, with its loss.

    Args:
        epochs: in all.
    """

    def __init__(self, epochs):
        super().__init__()
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        self.progress: Any = Progress(*columns, console=console, transient=True)
        self.task = self.progress.add_task("training", total=epochs)

    def on_train_begin(self, logs=None) -> None:
        self.progress.start()

    def on_epoch_end(self, epoch, logs=None) -> None:
        self.progress.update(self.task, completed=epoch + 1, description=f"training  loss {logs['loss']:.3f}")

    def on_train_end(self, logs=None) -> None:
        self.progress.stop()
