"""How `fit`, `evaluate` and `predict` read what they are given."""

import warnings
from collections.abc import Iterator
from typing import Any

import keras

from kzoo.data.batches import Batches, Stretches
from kzoo.keras_contact import steps_run, untracked
from kzoo.losses.parts.blocks import FEW
from kzoo.training.feed import Counted, Held, is_data_set
from kzoo.training.parts import own_part
from kzoo.training.record import KERAS_BATCH_SIZE


def check_own(x, batch_size, shuffle=True) -> None:
    """A data set has batches of its own, and one of kzoo an order: stops where others are asked for beside it.

    Raises:
        ValueError: a `batch_size` that is not the set's, or `shuffle=False` beside a set that is shuffled.
    """
    if batch_size is not None and is_data_set(x) and batch_size != getattr(x, "batch_size", None):
        raise ValueError(
            f"batch_size is {batch_size}, but a data set ({type(x).__name__}) is given, whose batches are its own; "
            "make it with that batch_size, or leave it out here."
        )
    if not shuffle and isinstance(x, Batches) and x.shuffle:
        raise ValueError(
            f"shuffle is {shuffle}, but a data set ({type(x).__name__}) is given that is shuffled itself; make it with "
            "shuffle=False, or leave it out here."
        )


def to_train(x, steps_per_epoch, epochs) -> tuple:
    """`(x, steps_per_epoch)` for `keras.Model.fit`: of a kzoo set an epoch of so many batches goes on in the next.

    Raises:
        ValueError: several epochs of a generator that do not say where one ends.
    """
    x = own_part(x)
    if isinstance(x, Batches) and steps_per_epoch:
        return Stretches(x, steps_per_epoch), None
    if isinstance(x, Iterator):
        if epochs > 1 and not steps_per_epoch:
            raise ValueError(
                f"a {type(x).__name__} can be read only once, but epochs is {epochs}; give steps_per_epoch, batches "
                "that an epoch takes from it, or data that can be read again, such as a keras.utils.PyDataset."
            )
        return Counted(x), steps_per_epoch
    return x, steps_per_epoch


def to_test(x, steps=None) -> Any:
    """What `evaluate` reads, twice, and `predict`: of a kzoo set every row once, in the source's order."""
    if isinstance(x, Iterator):
        return Held(x, steps)
    return own_part(x.in_order()) if isinstance(x, Batches) else x


def to_validate(x, steps=None) -> Any:
    """As `to_test`, for `validation_data` of `fit`; that a set for training is read in another way is said."""
    if isinstance(x, Batches) and x.shuffle:
        warnings.warn(
            "validation_data has shuffle=True: it is read in the source's order nevertheless, every row once and "
            "nothing augmented, as numbers of one epoch are compared with those of another; shuffle=False says so.",
            stacklevel=3,
        )
    return to_test(x, steps)


def expect_rows(model, source) -> None:
    """Says to a model whether batches have few rows: TensorFlow compiles a step for batches of any size.

    Args:
        model: compiled. A step that was compiled for fewer rows is forgotten, but for one that runs: what a callback
            asks within `fit` is computed as that step is.
        source: data and the `batch_size` that they are read with.
    """
    if steps_run(model):
        return
    size = _rows_of(*source)
    few = size is not None and size <= FEW
    if model.few_rows and not few and keras.config.backend() == "tensorflow":
        model.train_function = model.test_function = None
    untracked(model, "few_rows", model.few_rows and few)


def _rows_of(data, batch_size):
    """The most rows of a batch, None where that is not known before it is read."""
    if isinstance(data, (dict, tuple)):
        return batch_size or KERAS_BATCH_SIZE
    return getattr(data, "batch_size", None)


class EndOfData(keras.callbacks.Callback):
    """Ends `fit` with a generator: Keras says that it ran out, and would read its first batches again.

    Args:
        data: what `to_train` gives.
        steps: batches of an epoch.
    """

    def __init__(self, data, steps):
        super().__init__()
        self.data, self.steps, self.read = data, steps, 0

    def on_epoch_end(self, epoch, logs=None) -> None:
        self.read += self.steps or 0
        if isinstance(self.data, Counted) and self.data.ended and self.read >= self.data.given:
            self.model.stop_training = True
