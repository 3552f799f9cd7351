"""Callbacks."""

import math
import time
import warnings

import keras

from kzoo.arguments import COUNT, POSITIVE, SHARE, takes
from kzoo.keras_contact import sync_state, value_within_fit
from kzoo.scale.engine import agreed
from kzoo.shown import AsCalled
from kzoo.training.health import healths_of


def may_skip(model) -> bool:
    """Whether steps of a model may be left out: by `compile(non_finite="skip")`, or by a `LossScaleOptimizer`."""
    return isinstance(model.optimizer, keras.optimizers.LossScaleOptimizer) or _leaves_out(model)


def _leaves_out(model):
    """Whether a step that is not finite is left out; a model of Keras itself stops there."""
    return getattr(model, "non_finite", "stop") == "skip"


class StopOnNonFinite(AsCalled, keras.callbacks.Callback):
    """Stops `fit` with an error that names the first step whose loss is not a finite number.

    Every `model.fit` of kzoo carries it: Keras itself would train on and save NaN weights. The step notes its loss in
    the model's `Health`, on the device; that is read every so many steps and when the epoch ends, so no other step
    waits for the device. Put it before callbacks that save when an epoch ends.

    Args:
        every: steps between two looks, each of which waits for the step before it.

    The error names the first layer whose output was not finite, of towers, their blocks and heads, if the step does not
    run in micro-batches. Of a model that was compiled with `non_finite="skip"` it stops nothing, but warns of the steps
    that were left out; how many those of an epoch were, and those that a `LossScaleOptimizer` has left out, is
    `skipped_steps` of the logs.

    A model without a `Health` is looked at when an epoch ends, by the mean loss of the epoch.

    Raises:
        FloatingPointError: the loss became NaN or infinite.

    Example:
        >>> model.fit(data, callbacks=[StopOnNonFinite(every=10)])
    """

    @takes(every=COUNT)
    def __init__(self, every=100):
        super().__init__()
        self.every = every
        self.epoch = None  # within an epoch, its index
        self.looked = self.skipped = 0

    def on_epoch_begin(self, epoch, logs=None) -> None:
        self.epoch, self.looked, self.skipped = epoch, 0, 0

    # not on_train_batch_end, which would make Keras hand every step's logs over at once, and so wait for each
    def on_train_batch_begin(self, batch, logs=None) -> None:
        if batch - self.looked >= self.every:
            self.looked = batch
            self._look()

    def on_test_begin(self, logs=None) -> None:
        if self.epoch is not None:  # validation, which resets metrics before the epoch has ended
            self._look()
            self._count()

    def on_epoch_end(self, epoch, logs=None) -> None:
        loss = (logs or {}).get("loss", 0.0)
        if not self._look() and not math.isfinite(loss):
            self._stop(loss, f"epoch {epoch + 1}")
        self._count()
        if logs is not None and may_skip(self.model):
            logs["skipped_steps"] = float(self.skipped)
        self.epoch = None

    def _count(self):
        """Adds the steps that were left out since the metrics were reset, and says where the first one failed."""
        for health in healths_of(self.model) if may_skip(self.model) else ():
            skipped = int(value_within_fit(self.model, health.skipped))
            if skipped and not self.skipped and _leaves_out(self.model):
                step = int(value_within_fit(self.model, health.first_noted))
                warnings.warn(
                    f"epoch {self.epoch + 1} left out {skipped} steps whose loss or gradients were not finite, the "
                    f"first at step {step + 1}{self._where(health)}.",
                    stacklevel=2,
                )
            self.skipped += skipped

    def _where(self, health):
        flags = [value_within_fit(self.model, each) for each in (health.layers, health.weights_noted)]
        said = health.where(*map(keras.ops.convert_to_numpy, flags))
        return f": {said}" if said else ""

    def _look(self):
        """Stops at a loss that is not finite; whether the model has a `Health` to tell."""
        healths = healths_of(self.model)
        for health in () if _leaves_out(self.model) else healths:
            step = int(value_within_fit(self.model, health.first_bad))
            if step >= 0:
                loss = float(value_within_fit(self.model, health.loss))
                self._stop(loss, f"epoch {self.epoch + 1}, step {step + 1}{self._where(health)}")
        return bool(healths)

    def _stop(self, loss, place):
        raise FloatingPointError(
            f"the loss became {loss} in {place}; lower the learning rate, clip gradients (clipnorm), or check the "
            "inputs for values that are not finite."
        )


class TimeBudget(AsCalled, keras.callbacks.Callback):
    """Trains for a given time: the learning rate follows the clock, and `fit` stops when the time is up.

    Over the share t of the budget that is spent, the rate rises linearly to its peak until `warmup` and falls
    as a cosine to 0: whatever the machine does, the schedule is complete. Pass more epochs to `fit` than the
    time can hold.

    Args:
        minutes: of training, counted from the end of the first step, most of which is its compilation.
        learning_rate: the peak.
        warmup: share of the budget in which the rate rises.

    Attributes:
        losses: the loss of each step so far, as the epoch's running mean.

    Example:
        >>> model.fit(data, epochs=1000, callbacks=[TimeBudget(minutes=5, learning_rate=5e-3)])
    """

    not_kept = ("started",)  # by `Resume`: the clock of another process

    @takes(minutes=POSITIVE, learning_rate=POSITIVE, warmup=SHARE)
    def __init__(self, minutes, learning_rate, warmup=0.05):
        super().__init__()
        self.seconds, self.learning_rate, self.warmup = 60.0 * minutes, learning_rate, warmup
        self.before, self.started = 0.0, None

    def spent(self) -> float:
        """Share of the budget that is spent, at most 1."""
        running = 0.0 if self.started is None else time.monotonic() - self.started
        return min(1.0, (self.before + running) / self.seconds)

    def on_train_begin(self, logs=None) -> None:
        self.before, self.started = 0.0, None  # seconds that are spent, but for those since a time of the clock

    def on_train_batch_begin(self, batch, logs=None) -> None:
        if self.started is not None:
            now = time.monotonic()
            self.before, self.started = self.before + now - self.started, now
        share = agreed(min(1.0, self.before / self.seconds))  # of several processes one has the clock
        rise = min(1.0, share / self.warmup) if self.warmup else 1.0
        fall = 0.5 * (1.0 + math.cos(math.pi * max(0.0, share - self.warmup) / (1.0 - self.warmup)))
        sync_state(self.model)  # within an epoch the optimizer's state is in the loop of jax, not in the model
        self.model.optimizer.learning_rate = max(rise * fall, 1e-3) * self.learning_rate

    def on_train_batch_end(self, batch, logs=None) -> None:
        if self.started is None:
            self.started = time.monotonic()
        if agreed(self.spent()) >= 1.0:
            self.model.stop_training = True
