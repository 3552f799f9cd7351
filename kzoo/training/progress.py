"""How a training goes, in numbers: among the logs, where a progress bar and all callbacks that keep logs find them."""

import time

import keras
from keras import ops

from kzoo.arguments import POSITIVE, takes
from kzoo.keras_contact import untracked, value_within_fit
from kzoo.shown import AsCalled
from kzoo.training.step import steps_of
from kzoo.training.step_values import is_shown
from kzoo.training.stopwatch import Stopwatch


class Progress(AsCalled, keras.callbacks.Callback):
    """Adds to the logs of `fit` what says how a training goes, beside its losses.

    - `images_per_second`, or `rows_per_second` of a model without pictures: of the training alone, without validation.
    - `data_share`: share of the time in which the loop stood still until a batch was there, from 0 to 1; near 0 the
      data keep up. TensorFlow reads its data within the compiled step, so there it is not among them.
    - `gradient_norm`: length of the gradients of all weights together, before they are clipped; of the last step.
      Computed within the compiled step; not among them where replicas of TensorFlow add gradients up later.
    - `logit_scale`: of the model's similarity head, where it has one; of the last step.
    - `learning_rate`: of the last step.

    `fit` calls it before other callbacks, so the progress bar shows them, and `keras.callbacks.CSVLogger`,
    `TensorBoard` and `wandb.integration.keras.WandbMetricsLogger` keep them, each as it keeps the loss.

    Args:
        seconds: between two looks at the rows that were made, each of which waits for a step.

    Example:
        >>> model.fit(data, callbacks=[kzoo.training.Progress(), keras.callbacks.CSVLogger("log.csv")])
    """

    not_kept = ("rates", "begun", "looked", "rows")  # by `Resume`: they are of a clock
    async_safe = True  # for Keras: what a step has made need not be handed over before the next begins

    @takes(seconds=POSITIVE)
    def __init__(self, seconds=1.0):
        super().__init__()
        self.seconds, self.watch, self.name = seconds, Stopwatch(), "rows_per_second"
        self.rates: dict[str, float] = {}
        self.begun = self.looked = self.rows = 0.0

    def on_train_begin(self, logs=None) -> None:
        pictures = any(tower.modality == "image" for tower in self.model.modalities().values())
        self.name = "images_per_second" if pictures else "rows_per_second"

    def on_epoch_begin(self, epoch, logs=None) -> None:
        self.watch.reset()
        self.rates, self.rows = {}, 0.0
        self.begun = self.looked = time.perf_counter()

    def on_train_batch_begin(self, batch, logs=None) -> None:
        self.watch.step_begins()
        now = time.perf_counter()
        if now - self.looked >= self.seconds:
            rows = self._rows_made()
            now = time.perf_counter()
            if rows > self.rows:
                self.rates[self.name] = (rows - self.rows) / (now - self.looked)
            self.rates |= self._data_share(now)
            self.looked, self.rows = now, rows

    def on_train_batch_end(self, batch, logs=None) -> None:
        if logs is not None:
            logs |= self.rates

    def on_test_begin(self, logs=None) -> None:
        if self.begun:  # validation, which resets metrics before the epoch has ended
            self._end()

    def on_epoch_end(self, epoch, logs=None) -> None:
        self._end()
        if logs is not None:
            logs |= self.rates

    def _end(self):
        """The mean of the epoch, once."""
        if not self.begun:
            return
        rows, now = self._rows_made(), time.perf_counter()
        self.rates = {self.name: rows / (now - self.begun)} | self._data_share(now)
        self.begun = 0.0

    def _rows_made(self):
        return float(ops.convert_to_numpy(value_within_fit(self.model, self.model.means.rows)))

    def _data_share(self, now):
        waited = self.watch.waited
        return {} if waited is None else {"data_share": min(1.0, waited / max(now - self.begun, 1e-9))}


def first_of(callbacks, model) -> list:
    """The callbacks with a `Progress` before others, which then find its numbers; and the model's step is told whether
    there is one."""
    found = [each for each in callbacks if isinstance(each, Progress)]
    if bool(found) != is_shown(model):
        untracked(model, "shows_progress", bool(found))
        untracked(model, "train_step", steps_of(model)["train_step"])  # it was compiled for the other
        untracked(model, "train_function", None)
    untracked(model, "stopwatch", found[0].watch if found else None)
    return [*found, *(each for each in callbacks if not isinstance(each, Progress))]
