"""Which samples of many shards make a batch: a function of seed, epoch and number of the batch alone."""

from functools import lru_cache

import numpy as np

from kzoo.types import Array

LANES = 16  # places of the epoch that a batch is made of


class ShardOrder:
    """The order of an epoch over shards that are read nearly in sequence, and mixed well all the same.

    The shards, in an order of their own for each epoch, make one line of samples. It is cut into as many lanes as there
    are shards, 16 at most, and every batch takes its part of each lane; within a lane, windows of samples are shuffled,
    as a shuffle buffer does. So a batch mixes samples of many shards, each shard is read in one stretch of the epoch,
    and a process that takes a part of each batch reads the shards of some lanes. The rest that fills no batch is a
    stretch of the line, drawn for each epoch, so that none is left out more often than others, of one shard either.
    Nothing is kept but numbers, and any batch is found without those before it.

    Args:
        counts: samples of each shard.
        batch_size: of the whole batch, whoever reads parts of it.
        buffer: samples of all windows together.
        seed: of the order.
        most_lanes: how many shards are read at once at most.

    Example:
        >>> ShardOrder([1000, 700, 1000], 100, 1000, seed=0).chosen(epoch=3, index=17).shape
        (100,)
    """

    def __init__(self, counts, batch_size, buffer, seed, most_lanes=LANES):
        self.counts, self.batch_size, self.seed = np.asarray(counts, "int64"), batch_size, seed
        self.starts = np.cumsum(self.counts) - self.counts
        self.batches, self.rest = divmod(int(self.counts.sum()), batch_size)
        lanes = max(1, min(most_lanes, batch_size, int((self.counts > 0).sum())))
        self.bounds = [batch_size * lane // lanes for lane in range(lanes + 1)]  # of each lane in a batch
        self.window = max(1, buffer // lanes)
        self._line, self._shuffled = lru_cache(2)(self._line), lru_cache(4 * lanes)(self._shuffled)

    def chosen(self, epoch, index) -> Array:
        """Numbers of the samples of a batch, int64 `(batch_size,)`, in the order of shards as they were given."""
        parts = []
        for lane, (low, high) in enumerate(zip(self.bounds, self.bounds[1:])):
            share = high - low
            place = np.arange(index * share, (index + 1) * share)  # in the lane
            window = place // self.window
            for each in range(int(window[0]), int(window[-1]) + 1):
                within = place[window == each] - each * self.window
                first = self.batches * low + each * self.window  # of the window, on the line
                parts.append(first + self._shuffled(epoch, lane, each, self.batches * share)[within])
        return self._numbers(epoch, np.concatenate(parts))

    def ahead(self, index) -> int:
        """The batch whose windows are the next ones after those of another."""
        share = max(high - low for low, high in zip(self.bounds, self.bounds[1:]))
        return index + max(1, -(-self.window // share))

    def _numbers(self, epoch, places):
        order, ends, left_out = self._line(epoch)
        over = max(0, left_out + self.rest - ends[-1])  # of the rest, what goes on at the beginning of the line
        places = places + over
        places = places + self.rest * (places >= left_out)
        at = np.searchsorted(ends, places, side="right")
        shards = order[at]
        return self.starts[shards] + places - (ends[at] - self.counts[shards])

    def _line(self, epoch):
        random = np.random.default_rng((self.seed, epoch))
        order = random.permutation(len(self.counts))
        ends = np.cumsum(self.counts[order])
        return order, ends, int(random.integers(ends[-1]))  # where the rest begins

    def _shuffled(self, epoch, lane, window, length):
        size = min(self.window, length - window * self.window)
        return np.random.default_rng((self.seed, epoch, lane, window)).permutation(size)
