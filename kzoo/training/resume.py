"""Trainings that go on where they were interrupted."""

import re
from typing import Any

import keras

from kzoo.arguments import COUNT, PATH, Kind, is_whole, takes
from kzoo.scale.engine import process
from kzoo.shown import AsCalled
from kzoo.training.checkpoints import Checkpoints
from kzoo.training.resumed_run import ResumedRun

SECONDS = {"s": 1.0, "sec": 1.0, "second": 1.0, "min": 60.0, "minute": 60.0, "h": 3600.0, "hour": 3600.0}
TIME = re.compile(r"\s*(\d+(?:\.\d+)?)\s*([a-z]+?)s?\s*")
EPOCH = "epoch"


def seconds_of(every) -> float | None:
    """The seconds of a time such as `"10 min"`; None of another text.

    Example:
        >>> seconds_of("10 min"), seconds_of("1.5 hours"), seconds_of("often")
        (600.0, 5400.0, None)
    """
    found = TIME.fullmatch(every.lower())
    unit = found and (found[2] if found[2] in SECONDS else None)
    return float(found[1]) * SECONDS[unit] if unit and float(found[1]) > 0 else None


def _wrong_every(value):
    if is_whole(value):
        return None if value > 0 else ValueError
    if not isinstance(value, str):
        return TypeError
    return None if value == EPOCH or seconds_of(value) is not None else ValueError


EVERY = Kind("steps, a whole number of at least 1, or a time such as '10 min', or 'epoch'", _wrong_every)


class Resume(AsCalled, keras.callbacks.Callback):
    """Lets a training that was killed go on as if nothing had happened: run the same script again.

    `fit` of a kzoo model with this callback writes checkpoints into a folder, and begins with the newest it finds
    there: in the middle of an epoch, with the same losses and weights as a run that was never interrupted. Kept are
    weights, optimizer with its step and schedule, state of the loss (queues, prototypes, learnt temperatures), the
    teacher, all seeds, the metrics of the running epoch, `History`, what other callbacks have noted (`EarlyStopping`,
    `ReduceLROnPlateau`), and the place in the data. Each checkpoint is there whole or not at all; one that was damaged
    since is left out, and the one before it is taken. A training that is complete is not done again: the model gets
    the weights that it ended with, or trains on where `epochs` was raised.

    Values are copied to the memory of the host between two steps, and a thread writes them while the next steps run.
    SIGTERM and Ctrl-C save after the step that runs, and then do what they do: the process ends with 143, or raises
    KeyboardInterrupt; a second one does so at once. On several processes the first writes and all read, what it is
    asked all do together within about a second, and a checkpoint goes on with another number of devices or processes,
    as it holds everything whole.

    Args:
        folder: path of the checkpoints, made if it is not there; one for each call of `fit`.
        every: how often: steps, a whole number; a time such as `"10 min"` or `"1 h"`; or `"epoch"`. With a time, an
            epoch that ends is kept if a tenth of it has passed.
        keep: how many checkpoints stay, the newest; each has three times the size of a model that Adam trains.

    Attributes:
        began_at: `(epoch, batch)` at which this `fit` began, from 0; None before.
        goes_on: whether it began with a checkpoint.

    Raises:
        TypeError, ValueError: `every` is none of these.
        ValueError: in `fit`: a checkpoint of another model, loss, optimizer or of other data; a generator, which cannot
            be put back to where it was; `BackupAndRestore` beside it.
        OSError: in `fit`: before the first step where the folder cannot be written, and later where the disk takes no
            more; the checkpoints that are there stay.

    Data that go on exactly are dicts of arrays and the sets of `kzoo.data`, whose order is a function of seed and
    epoch; a `keras.utils.PyDataset` whose batches are a function of their number, and of how often its `on_epoch_end`
    was called; a `DataLoader` of torch, which is read again from the beginning of the epoch. A `tf.data.Dataset` that
    is not shuffled, likewise. What other code draws in threads or processes of its own is not put back.

    Example:
        >>> model.fit(data, epochs=30, callbacks=[kzoo.training.Resume("run")])
    """

    @takes(folder=PATH, every=EVERY, keep=COUNT)
    def __init__(self, folder, every="10 min", keep=2):
        super().__init__()
        self.checkpoints = Checkpoints(folder, keep)
        self.every = every
        self.steps = every if is_whole(every) else None
        self.seconds = seconds_of(every) if isinstance(every, str) else None
        self.began_at, self.goes_on, self.run = None, False, None

    def on_train_begin(self, logs=None) -> None:
        raise TypeError(
            "kzoo.training.Resume works within fit of a model of kzoo, which begins where it was; here it "
            "is given to another loop."
        )

    def save_soon(self) -> None:
        """Have a checkpoint written after the step or epoch that runs, whatever `every` says; for other callbacks."""
        if self.run is not None:
            self.run.wanted = True

    def fit(self, model, fit, x, order, batch_size, options) -> keras.callbacks.History:
        """Train, from where the checkpoints say; called by `fit` of a model.

        Args:
            model: compiled, with its optimizer built.
            fit: `keras.Model.fit` of it.
            x: what that is to read.
            order: the `EpochOrder` among the callbacks.
            batch_size, options: of `fit`.
        """
        index, count = process()
        self.run = ResumedRun(self, model, fit, order, index, count)
        try:
            return self.run.train(x, batch_size, options)
        finally:
            self.run = None


def taken_from(callbacks) -> tuple[Resume | None, list]:
    """The `Resume` among callbacks, or None, and the others.

    Raises:
        ValueError: two of them, or one beside `BackupAndRestore`.
    """
    found: list[Any] = [each for each in callbacks if isinstance(each, Resume)]
    if len(found) > 1:
        raise ValueError("callbacks hold two kzoo.training.Resume; give one, with one folder.")
    if found and any(isinstance(each, keras.callbacks.BackupAndRestore) for each in callbacks):
        raise ValueError(
            "callbacks hold Resume and keras.callbacks.BackupAndRestore, which both say where to begin; "
            "give one of them."
        )
    return (found[0] if found else None), [each for each in callbacks if not isinstance(each, Resume)]
