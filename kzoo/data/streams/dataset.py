"""Batches of pairs from shards."""

import threading
import warnings
from collections.abc import Iterator
from typing import Any, Self

import numpy as np

from kzoo.data.pair_dataset import PairDataset
from kzoo.data.skipping import LISTED, listed
from kzoo.data.streams.ahead import Ahead
from kzoo.data.streams.order import ShardOrder
from kzoo.scale.rows import own_rows

FEW = 10_000  # samples of which all are tried in place of one that cannot be read
TRIES = 100  # samples that are tried where there are more
DEPTH, HELD = 8, 2**30  # batches, and bytes of pictures, that may be made before they are asked for


class Captions:
    """The captions of shards, read whenever they are iterated over."""

    def __init__(self, rows):
        self.rows = rows

    def __iter__(self) -> Iterator[str]:
        return self.rows.captions()


class Later:
    """A `numpy.random.Generator` that is made when something is drawn: of most rows nothing is.

    Args:
        seeds: of it.
    """

    def __init__(self, seeds):
        self.seeds, self._made = seeds, None

    def __getattr__(self, name) -> Any:
        if self._made is None:
            self._made = np.random.default_rng(self.seeds)
        return getattr(self._made, name)


class ShardDataset(PairDataset):
    """Batches of pairs from shards; made by `kzoo.data.shards`, which says what they hold.

    Attributes:
        broken: a sentence for each shard and sample that could not be used so far, with its shard and key.
        rows: all samples, a sequence that reads one when it is asked for it.
        buffer: samples that are shuffled together.
        others: see `PairDataset`.
    """

    def __init__(self, rows, preprocessor, *, buffer, **options):
        self.buffer, self._order, self._reported = buffer, None, len(options["broken"])
        self.threads, self._ahead, self._guard = options["workers"], None, threading.Lock()
        super().__init__(rows, preprocessor, **options | {"workers": 1})  # of Keras; the threads are its own

    def read(self, epoch, index) -> dict:
        if not self.threads:
            return self.at(epoch, index)
        count = len(self)
        if not 0 <= index < count:
            raise IndexError(f"batch {index} of {count}")
        height, width = self.preprocessor.images.image_size or (0, 0)
        depth = int(np.clip(HELD // max(1, 3 * height * width * self.batch_size), 1, DEPTH))
        return self._threads().get(epoch, index, count, depth)

    @property
    def order(self) -> ShardOrder:
        """Which samples make a batch."""
        if self._order is None or self._order.batch_size != self.batch_size:
            counts = self.rows.counts
            if self._of_pairs is not None:
                counts = np.diff(np.searchsorted(self._of_pairs[0], self.rows.starts))
            self._order = ShardOrder(counts, self.batch_size, self.buffer, self.seed, self.rows.lanes)
        return self._order

    @property
    def captions(self) -> Captions:
        """All captions of all samples, for `preprocessor.adapt`: read when they are iterated over."""
        return Captions(self.rows)

    def in_order(self) -> Self:
        found = super().in_order()
        if found is not self:
            found.rows_read = np.asarray(found.rows_read)
            self._report()
        return found

    def every_row(self, count) -> range:
        return range(count)  # of the largest sets an array takes gigabytes

    def count_captions(self) -> list:
        counts = []
        for number in range(len(self.rows)):
            try:
                counts.append(len(self.rows.texts(number)[0]))
            except ValueError:
                counts.append(1)  # a pair whose reading says what is wrong
        return counts

    def read_columns(self) -> tuple:
        return self.rows.asked.columns, dict.fromkeys(self.rows.asked.columns)

    def at(self, epoch, index) -> dict:
        batch = super().at(epoch, index)
        if self.shuffle and self.rows.fetched and (ahead := self.order.ahead(index)) < len(self):
            soon = self._chosen(epoch, ahead)[own_rows(self.batch_size, *self.part)]
            self.rows.prepare(self.rows.shards_of([self.pair(each)[0] for each in soon.tolist()]))
        return batch

    def read_rows(self, chosen, random, read) -> list:
        """As in `Skipping`, where what is random in a row depends on seed, epoch and row alone, and another row takes
        the place of one that cannot be read: whoever else reads a part of the batch has as many rows."""
        _, epoch, index = random.bit_generator.seed_seq.entropy
        found, batch, taken = [], None, None
        numbers = list(map(int, chosen))

        def tried(number):
            return self._read(number, self._random(epoch, number), read)

        for number, pair in zip(numbers, self._threads().map(tried, numbers) if self.threads else map(tried, numbers)):
            if not pair and self.shuffle:
                batch = self._chosen(epoch, index).tolist() if taken is None else batch
                taken = set(batch) if taken is None else taken
                pair = self._instead(epoch, number, batch.index(number), taken, read)
            found += pair
        self.check_enough(found, chosen)
        return found

    def left_out(self, problem) -> None:
        return None  # there may be thousands: they are said together

    def on_epoch_end(self) -> None:
        super().on_epoch_end()
        self._report()

    def _threads(self):
        with self._guard:
            if self._ahead is None or self._ahead[0] is not self:  # of what this set is a copy of
                self._ahead = self, Ahead(self.at, self.threads)
            return self._ahead[1]

    def _chosen(self, epoch, index):
        if not self.shuffle:
            return np.asarray(self.rows_read[index * self.batch_size : (index + 1) * self.batch_size])
        return self.order.chosen(epoch, index)

    def _random(self, epoch, *numbers):
        return Later((self.seed, epoch, *numbers, len(numbers)))

    def _instead(self, epoch, number, place, taken, read):
        """A row for a place in the batch whose own cannot be read: one that is in no part of the batch."""
        for each in self.candidates(self._random(epoch, number, 0), number, place):
            if each not in taken:
                taken.add(each)
                pair = self._read(each, self._random(epoch, each), read)
                if pair:
                    return pair
        return []

    def candidates(self, random, number, place) -> list[int]:
        """Numbers of rows that are tried for a place: each place has its own, so that no other process takes one."""
        size = self.batch_size
        if self.count > FEW:
            return (random.integers(self.count // size, size=TRIES) * size + place).tolist()
        others = random.permutation(self.count)
        return np.concatenate([others[others % size == place], others[others % size != place]]).tolist()

    def _report(self):
        """Say which samples were left out since this was said last."""
        found = self.broken[self._reported :]
        self._reported = len(self.broken)
        if found:
            more = " The attribute `broken` of the data set has all." if len(found) > LISTED else ""
            warnings.warn(f"{listed(found, 'samples cannot be used and were left out')}{more}", stacklevel=3)
