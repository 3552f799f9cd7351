"""Which rows make a batch: what every data set shares."""

import keras
import numpy as np


class Batches(keras.utils.PyDataset):
    """Base of the data sets: batches of rows, in an order that is a function of the seed and the epoch.

    A subclass defines `batch(chosen, random)`: the batch of the rows with these numbers, all that is random in it
    drawn from a `numpy.random.Generator` of its own.

    Args:
        count: rows of the set.
        noun: what a row is called in messages.
        batch_size: rows of a batch, at least 2.
        shuffle: a new order each epoch; the rest that does not fill a batch is left out of it. Otherwise the order is
            the source's, and every row is there.
        seed: of the order and of all else that is random.
        workers: threads that prepare batches.
        sampler: see `kzoo.data.SameGroup` and `DistinctGroups`; None takes any rows together.

    Attributes:
        epoch: the epoch whose order is given out; `fit` sets it.

    Raises:
        ValueError: no rows, or too few for a batch; a sampler without `shuffle`, or for another number of rows.
    """

    def __init__(self, count, noun, batch_size, shuffle, seed, workers, sampler):
        super().__init__(workers=workers)
        self.count, self.batch_size, self.shuffle, self.seed = count, batch_size, shuffle, seed
        self.sampler, self.epoch = sampler, 0
        self._drawn = None, None  # an epoch and its batches
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

    def __len__(self):
        if self.sampler is not None:
            return self.sampler.count_batches(self.batch_size)
        full, rest = divmod(self.count, self.batch_size)
        return full if self.shuffle or not rest else full + 1

    def __getitem__(self, index):
        if not 0 <= index < len(self):
            raise IndexError(f"batch {index} of {len(self)}")
        # everything random is a function of (seed, epoch, batch): threads may come in any order
        return self.batch(self._chosen(index), np.random.default_rng((self.seed, self.epoch, index)))

    def _chosen(self, index):
        epoch, batches = self._drawn
        if epoch != self.epoch:
            epoch = self.epoch
            batches = self._batches(np.random.default_rng((self.seed, epoch)))
            self._drawn = epoch, batches
        return batches[index]

    def _batches(self, random):
        if self.sampler is not None:
            return self.sampler.batches(self.batch_size, random)
        order = random.permutation(self.count) if self.shuffle else np.arange(self.count)
        return np.split(order, range(self.batch_size, self.count, self.batch_size))

    def on_epoch_end(self):
        self.epoch += 1
