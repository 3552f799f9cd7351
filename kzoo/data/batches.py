"""Which rows make a batch, and in which order: what every data set shares."""

import copy
import os
from pathlib import Path
from typing import Any, Self

import numpy as np

from kzoo.bases import PyDataset
from kzoo.data.classes import described
from kzoo.data.skipping import Skipping
from kzoo.scale.rows import marked_part, own_rows


class Batches(Skipping, PyDataset):
    """Base of the data sets: batches of rows, in an order that is a function of the seed and the epoch.

    `fit` of a kzoo model goes on with the epochs that the model has not seen, `evaluate` and `predict` read
    `in_order()`. A subclass defines `batch(chosen, random)`: the batch of the rows with these numbers, all that is
    random in it drawn from a `numpy.random.Generator` of its own.

    Args:
        count: rows of the set.
        noun: what a row is called in messages.
        batch_size: rows of a batch, at least 2.
        shuffle: a new order each epoch; the rest that does not fill a batch is left out of it. Otherwise the order is
            the source's, and every row is there.
        seed: of the order and of all else that is random.
        workers: threads that prepare batches.
        sampler: see `kzoo.data.SameGroup` and `DistinctGroups`; None takes any rows together.
        skip_broken, broken: see `Skipping`.

    Attributes:
        classes: names of the classes of each column that held names, in the order of their ids: `classes["species"]`.
        title: what the data are called where a model says what it was trained on: the name of a file, of a folder.
        epoch: the epoch whose order is given out; `fit` sets it.
        rows_read: int array, numbers of the rows that are read.
        part: `(index, count)`, which part of each batch is given out, see `of_part`.

    Raises:
        ValueError: no rows, or too few for a batch; a sampler without `shuffle`, or for another number of rows.
    """

    title = "arrays"
    part = 0, 1
    of_rows = None  # `RowEntries`, in sets that have some

    def __init__(self, count, noun, batch_size, shuffle, seed, workers, sampler, skip_broken=False, broken=()):
        super().__init__(workers=workers)
        self.rows_read, self.noun = self.every_row(count), noun
        self.batch_size, self.shuffle, self.seed = batch_size, shuffle, seed
        self.sampler, self.epoch, self.ordered = sampler, 0, False
        self.skip_broken, self.broken = skip_broken, list(broken)
        self._drawn = None, None  # an epoch and its batches
        self.classes = {}
        if batch_size < 2:
            raise ValueError(f"batch_size is {batch_size}; a contrastive batch needs at least two {noun}s.")
        if not count:
            raise ValueError(f"the source holds no {noun} that can be used.")
        if batch_size > count and shuffle:
            raise ValueError(
                f"a batch_size of {batch_size} is more than the {count} {noun}s of the source; choose a smaller one."
            )
        if sampler is not None and not shuffle:
            raise ValueError("a sampler draws batches anew each epoch; leave it out where shuffle=False.")
        if sampler is not None:
            sampler.check(count, batch_size)

    def __repr__(self) -> str:
        order = "shuffled" if self.shuffle else "in the order of the source"
        classes = "".join(f", {name} of {described(names)}" for name, names in self.classes.items())
        return (
            f"<{type(self).__name__} of {self.count:,} {self.noun}s in {len(self):,} batches of {self.batch_size}, "
            f"{order}, seed {self.seed}{classes}>"
        )

    @property
    def count(self) -> int:
        """Rows of the set."""
        return len(self.rows_read)

    def __len__(self) -> int:
        if self.sampler is not None:
            return self.sampler.count_batches(self.batch_size)
        full, rest = divmod(self.count, self.batch_size)
        return full if self.shuffle or not rest else full + 1

    def __getitem__(self, index) -> Any:
        return self.read(self.epoch, index)

    def read(self, epoch, index) -> Any:
        """A batch that is trained on or measured: as `at`, but the next ones may be made meanwhile."""
        return self.at(epoch, index)

    def at(self, epoch, index) -> Any:
        """A batch of any epoch."""
        if not 0 <= index < len(self):
            raise IndexError(f"batch {index} of {len(self)}")
        # everything random is a function of (seed, epoch, batch): threads may come in any order
        chosen, seeds = self._chosen(epoch, index), np.random.SeedSequence((self.seed, epoch, index))
        part, parts = self.part
        if parts == 1:
            return self.batch(chosen, np.random.default_rng(seeds))
        own = chosen[own_rows(len(chosen), part, parts)]
        seeds = np.random.SeedSequence(seeds.entropy, spawn_key=(part,))  # what is drawn for other rows is another
        return marked_part(self.batch(own, np.random.default_rng(seeds)), len(chosen), part, parts)

    @property
    def compares_rows(self) -> bool:
        """Whether a batch holds matrices of the pairs of its rows, so that it is read as a whole."""
        return self.of_rows is not None and bool(self.of_rows.matrices)

    def of_part(self, index, count) -> Self:
        """The set as one of several processes reads it: of each batch its own rows, and no others.

        The batches are those of the whole set; `batch_size` stays that of them all.

        Args:
            index: of the process, from 0.
            count: how many there are.
        """
        found = copy.copy(self)
        found.part = index, count
        return found

    def in_order(self) -> Self:
        """The set as `evaluate` and `predict` read it: every row once, in the source's order, the same each time.

        Of an image with several captions that is the first, unless each caption is a row. `augmentation` and
        `word_dropout` of pairs, which are of training, are left out.

        Returns:
            A set of the same class. Its `rows_read` are all rows, but for those that `skip_broken` leaves out; to
            know them, each picture is opened once before.

        Example:
            >>> rows = data.in_order().rows_read
            >>> model.predict(data)["image_embeddings"].shape
            (len(rows), 512)
        """
        if self.ordered:
            return self
        rows, found = self.readable_rows(), copy.copy(self)
        found.shuffle, found.sampler, found.epoch, found.ordered = False, None, 0, True
        found.rows_read, found._drawn = rows, (None, None)
        return found

    def of_source(self, source, classes) -> Self:
        """The set, told what it was made of.

        Args:
            source: its path, after which `title` is; anything else has no name.
            classes: dict by column of dicts of a name and its id.
        """
        self.classes = {name: tuple(ids) for name, ids in classes.items()}
        if isinstance(source, (str, os.PathLike)):
            self.title = Path(source).name
        return self

    def every_row(self, count) -> Any:
        """The numbers of all rows, as an array or what counts like one."""
        return np.arange(count)

    def _chosen(self, epoch, index):
        drawn, batches = self._drawn
        if drawn != epoch:
            batches = self._batches(np.random.default_rng((self.seed, epoch)))
            self._drawn = epoch, batches
        return batches[index]

    def _batches(self, random):
        if self.sampler is not None:
            return self.sampler.batches(self.batch_size, random)
        order = random.permutation(self.count) if self.shuffle else self.rows_read
        return np.split(order, range(self.batch_size, self.count, self.batch_size))

    def on_epoch_end(self) -> None:
        if not self.ordered:
            self.epoch += 1


class Stretches(PyDataset):
    """So many batches of a set as one epoch: the next goes on where one ended, over the ends of the set.

    Args:
        of: a `Batches`.
        steps: batches of an epoch.

    Attributes:
        epoch: the stretch that is given out; `fit` sets it.
    """

    def __init__(self, of, steps):
        super().__init__(workers=of.workers)
        self.of, self.steps, self.epoch = of, steps, 0

    @property
    def part(self) -> tuple:
        """As in `Batches`."""
        return self.of.part

    @property
    def compares_rows(self) -> bool:
        """As in `Batches`."""
        return self.of.compares_rows

    def of_part(self, index, count) -> "Stretches":
        """As `Batches.of_part`."""
        return Stretches(self.of.of_part(index, count), self.steps)

    def __len__(self) -> int:
        return self.steps

    def __getitem__(self, index) -> Any:
        return self.of.read(*divmod(self.epoch * self.steps + index, len(self.of)))

    def on_epoch_end(self) -> None:
        self.of.on_epoch_end()
