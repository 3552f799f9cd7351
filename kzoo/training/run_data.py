"""The data of a training that can go on in the middle of an epoch: which batch comes when, and how to begin there."""

import copy
import warnings
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np

from kzoo.bases import PyDataset
from kzoo.data.batches import Batches, Stretches
from kzoo.scale.engine import parts_read
from kzoo.scale.rows import marked_part, own_rows
from kzoo.training.feed import library_of, source_of
from kzoo.training.record import KERAS_BATCH_SIZE

INSTEAD = "give a dict of arrays, a set of kzoo.data, a keras.utils.PyDataset or a DataLoader of torch"


class ArrayOrder(PyDataset):
    """Arrays in batches, in an order that is a function of the seed and the epoch: Keras' own is drawn as it comes.

    Args:
        arrays: dict of arrays with a row for each sample.
        batch_size: rows of a batch; the last may have fewer.
        shuffle: a new order each epoch.
        seed: of the orders; `sow` sets another.

    Attributes:
        epoch: the epoch whose order is given out; `fit` sets it.
        part: `(index, count)`, which part of each batch is given out, to one of several processes.
    """

    def __init__(self, arrays, batch_size, shuffle, seed=0):
        super().__init__()
        self.part = parts_read()
        self.arrays = {
            name: keras.ops.convert_to_numpy(each) if keras.ops.is_tensor(each) else each
            for name, each in arrays.items()
        }
        self.rows = len(next(iter(self.arrays.values())))
        self.batch_size, self.shuffle, self.seed, self.epoch = batch_size, shuffle, seed, 0
        self._drawn = None, None  # an epoch and its order

    def __len__(self) -> int:
        return -(-self.rows // self.batch_size)

    def __getitem__(self, index) -> Any:
        return self.at(self.epoch, index)

    def at(self, epoch, index) -> dict:
        """A batch of any epoch."""
        drawn, order = self._drawn
        if drawn != epoch:
            order = np.arange(self.rows)
            if self.shuffle:
                order = np.random.default_rng((self.seed, epoch)).permutation(self.rows)
            self._drawn = epoch, order
        chosen = order[index * self.batch_size : (index + 1) * self.batch_size]
        if self.part[1] == 1:
            return {name: each[chosen] for name, each in self.arrays.items()}
        own = chosen[own_rows(len(chosen), *self.part)]
        return marked_part({name: each[own] for name, each in self.arrays.items()}, len(chosen), *self.part)

    def on_epoch_end(self) -> None:
        self.epoch += 1


class Rest(PyDataset):
    """The batches of a set that are left of an epoch.

    Args:
        of: a `keras.utils.PyDataset` of known length.
        start: number of the first.
    """

    def __init__(self, of, start):
        super().__init__(of.workers, of.use_multiprocessing, of.max_queue_size)
        self.of, self.start, self.ends = of, start, 0

    def __len__(self) -> int:
        return self.of.num_batches - self.start

    def __getitem__(self, index) -> Any:
        return self.of[index + self.start]

    def on_epoch_begin(self) -> None:
        self.of.on_epoch_begin()

    def on_epoch_end(self) -> None:
        self.ends += 1
        if self.ends == 1:  # Keras calls it once before it begins, and will do so again for the epochs after this one
            self.of.on_epoch_end()


def split(arrays, share) -> tuple[dict, dict | None]:
    """Arrays to train on and those that `validation_split` holds out, which are the last, as in Keras."""
    if not share:
        return arrays, None
    rows = len(next(iter(arrays.values())))
    at = int(rows * (1.0 - share))
    return {name: each[:at] for name, each in arrays.items()}, {name: each[at:] for name, each in arrays.items()}


def in_known_order(x, batch_size, shuffle, steps_per_epoch) -> tuple:
    """Data whose batches are known by the number of their epoch.

    Args:
        x: what `fit` would hand to Keras: arrays, or a data set.
        batch_size, shuffle: of arrays.
        steps_per_epoch: as in `fit`.

    Returns:
        `(x, ordered)`: for Keras, and the set within it whose `epoch` is to be set, or None.

    Raises:
        ValueError: data that cannot be put back to where they were.
    """
    if isinstance(x, dict):
        ordered: Any = ArrayOrder(x, batch_size or KERAS_BATCH_SIZE, shuffle)
        if steps_per_epoch:
            ordered = Stretches(ordered, steps_per_epoch)
        return ordered, ordered
    source = source_of(x)
    known = library_of(x) in ("keras", "tensorflow", "torch")
    if isinstance(x, Iterator) or not known or count_of(x) is None:
        raise ValueError(
            f"the data are of type {type(source).__name__}, which cannot be put back to where a training was "
            f"interrupted; {INSTEAD}, or leave out Resume."
        )
    if steps_per_epoch:
        raise ValueError(
            f"steps_per_epoch is {steps_per_epoch} beside a {type(source).__name__}, whose epochs then begin wherever "
            f"the last one ended; leave it out beside Resume, or {INSTEAD[5:]}."
        )
    if library_of(x) == "tensorflow":
        warnings.warn(
            "Resume cannot see the seed of a tf.data.Dataset that shuffles: a training that goes on reads it anew from "
            "its first order on, and up to the batch where it was; kzoo.data and arrays go on exactly.",
            stacklevel=4,
        )
    return x, (source if isinstance(source, (Batches, Stretches)) else None)


def sow(x, seed) -> None:
    """Set the seed of the order of arrays; data sets have their own."""
    inner = x.of if isinstance(x, Stretches) else x
    if isinstance(inner, ArrayOrder):
        inner.seed = seed


def count_of(x) -> int | None:
    """Batches of an epoch; None where a data set does not know it."""
    try:
        return len(x) if not isinstance(x, keras.utils.PyDataset) else x.num_batches
    except (TypeError, NotImplementedError):
        return None


def description_of(x, ordered) -> dict:
    """What must be the same of data when a training goes on."""
    source = ordered if ordered is not None else source_of(x)
    found: dict[str, Any] = {"kind": type(source).__name__, "batches of an epoch": count_of(x)}
    inner = source.of if isinstance(source, Stretches) else source
    for name in ("batch_size", "shuffle", "buffer", "rows" if isinstance(inner, ArrayOrder) else "count"):
        value = getattr(inner, name, None)
        if isinstance(value, (bool, int)):
            found[name] = value
    if isinstance(inner, Batches) and isinstance(inner.seed, int):
        found["seed"] = inner.seed
    return found


def rest_of(x, start, begins) -> Any:
    """What is left of an epoch, for `keras.Model.fit`.

    Args:
        x: of `in_known_order`.
        start: number of the first batch that is left.
        begins: function that puts the generators of the process to where they were as the epoch began and gives True;
            after the first step it does nothing and gives False.
    """
    if isinstance(x, keras.utils.PyDataset):
        return Rest(x, start)
    return x.skip(start) if library_of(x) == "tensorflow" else _rest_of_loader(x, start, begins)


def _rest_of_loader(loader, start, begins):
    """A loader draws the order of its samples as it is iterated, and all it does to them meanwhile: what was read
    before is read again."""

    class RestOfLoader(type(loader)):
        def __iter__(self) -> Iterator:
            again = start if begins() else 0
            batches = super().__iter__()
            for _ in range(again):
                next(batches)
            return batches

        def __len__(self) -> int:
            return super().__len__() - start

    rest = copy.copy(loader)
    rest.__class__ = RestOfLoader
    return rest


def repeat_epochs(x, ordered, epochs) -> None:
    """Tell a set whose `epoch` nobody sets of the epochs that were made of it: some shuffle themselves as one ends."""
    source = source_of(x)
    if ordered is None and isinstance(source, keras.utils.PyDataset):
        for _ in range(epochs):
            source.on_epoch_begin()
            source.on_epoch_end()
