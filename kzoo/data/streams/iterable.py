"""Streams of Hugging Face's `datasets`, which are read from their start, as the rows of a set with an order."""

import threading
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

import numpy as np

from kzoo.data.captions import captions_of
from kzoo.data.columns import picture
from kzoo.data.held import undecoded
from kzoo.data.sources import Row
from kzoo.data.streams.dataset import ShardDataset
from kzoo.data.streams.index import shown
from kzoo.data.streams.parquet import CAPTION_KEYS, IMAGE_KEYS
from kzoo.files.words import on_one_line, said_by

KEPT = 4  # batches whose rows are kept, for the threads that make some beside each other


def is_stream(source) -> bool:
    """Whether a source is an `IterableDataset`: with columns and features, but without a length."""
    declared = hasattr(source, "column_names") and hasattr(source, "features")
    return declared and not isinstance(source, dict) and not hasattr(source, "__len__")


class StreamRows:
    """The rows of a stream by their place in an epoch; who asks for one before those that are kept begins anew.

    Args:
        source: an `IterableDataset`.
        asked: `Asked`.
        count: samples of it, None where they are to be counted.
        kept: rows that are kept.
        buffer, seed: of its shuffling, which is the library's own; None reads it as it is.
    """

    fetched, lanes, problems = False, 1, ()

    def __init__(self, source, asked, count, kept, buffer=None, seed=0):
        self.asked, self.given = asked, source
        self.source = undecoded(source, asked.image_key or IMAGE_KEYS[0])
        self._guard, self._epoch, self._next, self._kept = threading.Lock(), None, 0, deque(maxlen=kept)
        self.count = sum(1 for _ in shown(iter(self.source), "counting samples", None)) if count is None else count
        self.counts = [self.count]
        if buffer is not None:
            self.source = self.source.shuffle(seed=seed, buffer_size=buffer)

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, number) -> Row:
        return self.at(0, number)

    def in_order(self) -> Self:
        """The rows in the order of the stream."""
        return type(self)(self.given, self.asked, self.count, self._kept.maxlen)

    def texts(self, number) -> tuple:
        """`(captions, more)` of a row."""
        row = self.at(0, number)
        return row.captions, row.more

    def captions(self) -> Iterator[str]:
        """The captions of all rows that have some."""
        for number in range(self.count):
            try:
                yield from self.texts(number)[0]
            except ValueError:
                continue  # it is said where the row is read

    def at(self, epoch, number) -> Row:
        """A row of an epoch.

        Raises:
            ValueError: no picture or no caption, a stream that ends before.
        """
        with self._guard:
            if epoch != self._epoch or number < self._next - len(self._kept):
                self._begin(epoch)
            while self._next <= number:
                try:
                    record = next(self._records)
                except StopIteration:
                    raise ValueError(
                        f"the stream ends after {self._next:,} samples, but {self.count:,} were said or counted."
                    ) from None
                except Exception as error:  # whatever that library raises of data that are damaged
                    self._epoch = None
                    raise ValueError(f"the stream cannot be read at sample {number:,}: {said_by(error)}.") from error
                self._kept.append(record)
                self._next += 1
            record = self._kept[number - self._next]
        return self._row(record, f"sample {number:,} of epoch {epoch}")

    def _begin(self, epoch):
        self._kept.clear()
        self._epoch, self._next = epoch, 0
        self.source.set_epoch(epoch)
        self._records = iter(self.source)

    def _row(self, record, place):
        image, problem = picture(*self._named(record, self.asked.image_key, IMAGE_KEYS, place), Path())
        key, value = self._named(record, self.asked.caption_key, CAPTION_KEYS, place)
        captions, said = captions_of(value, key)
        if problem or said:
            raise ValueError(f"{place}: {on_one_line(problem or said)}.")
        more = {}
        for name in self.asked.columns:
            more[name] = [self.asked.number(name, self._named(record, name, (), place)[1], place)] * len(captions)
        return Row(image, captions, place, more)

    def _named(self, record, wanted, usual, place) -> Any:
        key = wanted if wanted is not None else next((name for name in usual if name in record), None)
        if key not in record:
            there = on_one_line(", ".join(record))[:300]
            raise ValueError(f"{place}: it has no column {wanted or ' or '.join(usual)}, only {there}.")
        return key, record[key]


class StreamDataset(ShardDataset):
    """Batches of pairs from a stream; made by `kzoo.data.shards`.

    Every process reads the whole stream and decodes the pictures of its own rows. To go on at a batch, what stands
    before it is read and not decoded.

    Attributes:
        others: see `ShardDataset`.
    """

    def row(self, number, random) -> Row:
        return self.rows.at(0 if random is None else random.seeds[1], number)

    def in_order(self) -> Self:
        if self.ordered:
            return self
        before, self.rows = self.rows, self.rows.in_order()
        try:
            return super().in_order()
        finally:
            self.rows = before

    def candidates(self, random, number, place) -> list[int]:
        near = [number + self.batch_size * each for each in (1, -1, 2, -2)]
        return [each for each in near if 0 <= each < self.count]

    def _chosen(self, epoch, index):
        return np.asarray(self.rows_read[index * self.batch_size : (index + 1) * self.batch_size])
