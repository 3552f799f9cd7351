"""The samples of many shards as one sequence of rows, of which few shards are open at a time."""

import threading
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import numpy as np

from kzoo.data.sources import Row
from kzoo.data.streams.index import counted
from kzoo.data.streams.locations import is_parquet, local_path, short
from kzoo.data.streams.order import LANES
from kzoo.data.streams.parquet import ParquetShard
from kzoo.data.streams.read_once import ReadOnce
from kzoo.data.streams.tar import TarShard

OPEN = 128  # shards that are open at once, where more would be wanted
HELD = 2**30  # bytes of groups of parquet files, beyond which fewer shards are read at once
AHEAD = 2  # shards that are fetched beside each other


def open_shard(file, name, asked, groups=2) -> TarShard | ParquetShard:
    """A shard, of the kind that its name says.

    Args:
        file: open for reading.
        name: path or URL of it.
        asked: `Asked`.
        groups: see `ParquetShard`.
    """
    return ParquetShard(file, short(name), asked, groups) if is_parquet(name) else TarShard(file, short(name), asked)


class ShardRows:
    """A sequence of rows, read when they are asked for, by any number of threads.

    Args:
        names: paths and URLs of all shards.
        opener: an `Opener`.
        asked: `Asked`.
        index: see `kzoo.data.shards`.
        buffer: samples that are shuffled together, by which it is known how many shards are read at once.

    Attributes:
        counts: list, samples of each shard.
        lanes: how many shards are to be read at once.
        problems: a sentence for each shard that is not whole.
        fetched: whether any shard lies elsewhere.
    """

    def __init__(self, names, opener, asked, index=None, buffer=0):
        self.names, self.opener, self.asked = names, opener, asked
        self.fetched = any(local_path(name) is None for name in names)
        self._open, self.known = ReadOnce(self._opened, OPEN), [None] * len(names)  # a shard let go is closed by itself
        self._ahead = threading.Semaphore(AHEAD)
        self.lanes, self.groups = LANES, 2
        found = counted(names, opener, self._opened, index)
        self.counts, self.known, self.problems = found.counts, found.known, found.problems
        self.starts = np.concatenate([[0], np.cumsum(self.counts)]).astype("int64")
        if len(self):
            self._plan(buffer)

    def __len__(self) -> int:
        return int(self.starts[-1])

    def __getitem__(self, number) -> Row:
        """A row, with the bytes of its picture.

        Raises:
            ValueError: a shard that cannot be opened, a sample that is not there or not whole.
        """
        shard, within = self._found(number)
        return shard.row(within)

    def texts(self, number) -> tuple:
        """`(captions, more)` of a row, without its picture; for the errors see `__getitem__`."""
        shard, within = self._found(number)
        return shard.texts(within)

    def picture(self, number) -> bytes:
        """The picture of a row as it is packed; for the errors see `__getitem__`."""
        shard, within = self._found(number)
        return shard.picture(within)

    def place(self, number) -> str:
        """Where a row stands: shard and key."""
        shard, within = self._found(number)
        return shard.place(within)

    def captions(self) -> Iterator[str]:
        """The captions of all rows that have some, read one by one."""
        for number in range(len(self)):
            try:
                yield from self.texts(number)[0]
            except ValueError:
                continue  # it is said where the row is read

    def shards_of(self, numbers) -> set:
        """Numbers of the shards that hold some rows."""
        return set((np.searchsorted(self.starts, numbers, side="right") - 1).tolist())

    def prepare(self, shards) -> None:
        """Begin to fetch shards that will be read soon."""
        for number in shards:
            if number not in self._open:
                threading.Thread(target=self._fetch, args=(number,), daemon=True).start()

    def _fetch(self, number):
        with self._ahead, suppress(ValueError):  # which is said where a row of it is read
            self._open.get(number)

    def _plan(self, buffer):
        """How many shards are read at once: of parquet files whole groups of rows are held for that."""
        shards = sum(count > 0 for count in self.counts)
        first = next(number for number, count in enumerate(self.counts) if count)
        if is_parquet(self.names[first]):
            shard = self._open.get(first)
            rows, size = max(1, len(shard) // len(shard.ends)), max(1, shard.largest_group)
            self.lanes = int(np.clip((HELD // size - buffer // rows) // 2, 1, LANES))
            self.groups = buffer // (self.lanes * rows) + 2
        lanes = min(self.lanes, shards)
        mean = max(1, len(self) // shards)  # samples of a shard
        self._open.most = min(OPEN, lanes * (buffer // (lanes * mean) + 3))

    def _found(self, number) -> Any:
        at = int(np.searchsorted(self.starts, number, side="right")) - 1
        shard, within = self._open.get(at), int(number - self.starts[at])
        if within >= len(shard):
            why = f" {shard.problem}" if shard.problem else ""
            raise ValueError(
                f"{shard.name}: it has {len(shard):,} samples, but {self.counts[at]:,} are recorded in its index.{why}"
            )
        return shard, within

    def _opened(self, number):
        name, known = self.names[number], self.known[number]
        return open_shard(self.opener(name, known and known.sha256), name, self.asked, self.groups)
