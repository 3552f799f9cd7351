"""What `kzoo train` says while it trains: a bar within an epoch, a line for each that is done."""

import time

import keras
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from kzoo.cli.terminal import console
from kzoo.evaluation.results import in_order
from kzoo.files import disk
from kzoo.keras_contact import sync_state
from kzoo.scale.engine import once, process

KS = (1, 5, 10)
DIRECTIONS = ("image_to_text", "text_to_image")


def recalls(numbers) -> list:
    """Recall at 1, 5 and 10, the mean of both directions, of `val_...` numbers; [] where there are none."""
    names = [[f"val_{direction}_recall@{k}" for direction in DIRECTIONS] for k in KS]
    if any(name not in numbers for both in names for name in both):
        return []
    return [sum(numbers[name] for name in both) / len(both) for both in names]


def score_of(numbers) -> float | None:
    """By what an epoch is better than another: its recalls on held-out pairs, else its loss there, None without any."""
    found = recalls(numbers)
    return sum(found) / len(found) if found else -numbers["val_loss"] if "val_loss" in numbers else None


def line_of(numbers, epochs) -> str:
    """One epoch in at most 80 columns.

    Example:
        >>> line_of({"epoch": 3, "loss": 4.1349, "in_batch_accuracy": 0.121}, 40)
        'epoch  3/40  loss 4.135  accuracy 12%'
    """
    line = f"epoch {numbers['epoch']:>{len(str(epochs))}}/{epochs}  loss {numbers['loss']:.3f}"
    if "in_batch_accuracy" in numbers:
        line += f"  accuracy {numbers['in_batch_accuracy']:.0%}"
    if "val_loss" in numbers:
        line += f"  held out {numbers['val_loss']:.3f}"
    found = recalls(numbers)
    if found:
        line += f"  recall@{'/'.join(map(str, KS))} {'/'.join(f'{100 * each:.0f}' for each in found)}%"
    return line


class Watch(keras.callbacks.Callback):
    """Shows how a training goes, keeps each epoch in its folder, and stops where held-out pairs get no better.

    Args:
        folder: `kzoo.cli.training_folder.TrainingFolder`.
        epochs: in all.
        patience: epochs without a better one after which the training ends, or None.
        log: path of a file to which the lines go, too, or None.
        resume: the `kzoo.training.Resume` beside it, or None; it keeps `history` and `best`.
        plan: line that says what is done, or None.
    """

    not_kept = ("bar", "started")  # by `Resume`: of this terminal, and of its clock

    def __init__(self, folder, epochs, patience=None, log=None, resume=None, plan=None):
        super().__init__()
        self.folder, self.epochs, self.patience, self.log = folder, epochs, patience, log
        self.resume, self.plan = resume, plan
        self.history, self.best = list(folder.history), folder.best
        self.bar = self.started = None

    def say(self, line) -> None:
        """Print a line, and add it to the log."""
        console.print(line, highlight=False, soft_wrap=True)
        if self.log is not None and process()[0] == 0:
            with disk.in_words(self.log, disk.ADDED):
                disk.append(self.log, f"{line}\n".encode())

    def on_train_begin(self, logs=None) -> None:
        if self.resume is not None and self.resume.goes_on:
            epoch, step = self.resume.began_at
            self.say(f"going on with the training in {self.folder.path} at epoch {epoch + 1}, step {step + 1}")
        if self.plan is not None:
            self.say(self.plan)

    def on_epoch_begin(self, epoch, logs=None) -> None:
        self.folder.history, self.folder.best = self.history, self.best  # which may have been put back just now
        self.started = time.monotonic()
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        self.bar = Progress(*columns, console=console, transient=True, disable=not console.is_terminal)
        self.bar.add_task(f"epoch {epoch + 1}/{self.epochs}", total=self.params["steps"])
        self.bar.start()

    def on_train_batch_begin(self, batch, logs=None) -> None:
        self.bar.update(self.bar.task_ids[0], completed=batch)

    def on_epoch_end(self, epoch, logs=None) -> None:
        self.bar.stop()
        numbers = {"epoch": epoch + 1, **{name: float(logs[name]) for name in sorted(logs, key=in_order)}}
        self.say(line_of(numbers, self.epochs))
        sync_state(self.model)  # what is saved is what the last step left
        self.best = once(lambda: self._kept(numbers))
        if self.resume is not None:
            self.resume.save_soon()
        best = self.best[0]
        waited = epoch + 1 - best
        if self.patience is not None and waited >= self.patience:
            self.model.stop_training = True
            self.say(f"stopped: no epoch was better than epoch {best} for {waited} epochs")

    def _kept(self, numbers):
        """The best epoch and its score, once this one is in the folder."""
        self.folder.epoch_done(self.model, numbers | {"seconds": time.monotonic() - self.started}, score_of(numbers))
        return self.folder.best

    def close(self) -> None:
        """Take the bar away, wherever the training has stopped."""
        if self.bar is not None:
            self.bar.stop()
