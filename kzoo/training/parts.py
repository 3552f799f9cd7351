"""Data of several processes: each is given all of them, and takes its own rows of every batch."""

from typing import Any

import keras
import numpy as np

from kzoo.data.batches import Batches, Stretches
from kzoo.scale.engine import agreed, parts_read
from kzoo.scale.rows import cut, marked_part, own_rows
from kzoo.training.feed import fed, library_of

BATCH_SIZE = 32  # Keras' own, of arrays


def own_part(x) -> Any:
    """A set of kzoo as this process reads it, which opens its own rows only; anything else as it is."""
    index, count = parts_read()
    if count == 1 or not isinstance(x, (Batches, Stretches)) or is_by_process(x) or x.compares_rows:
        return x
    return x.of_part(index, count)


def is_by_process(data) -> bool:
    """Whether a set gives this process other rows than it gives the others."""
    if isinstance(data, (Batches, Stretches)):
        return data.part[1] > 1
    sampler = type(getattr(data, "sampler", None)).__mro__
    return getattr(data, "by_process", False) or any(each.__name__ == "DistributedSampler" for each in sampler)


def fed_in_parts(data, take, finish) -> Any:
    """As `kzoo.training.feed.fed`, with the rows of this process alone where several share each batch.

    A set of kzoo, and a loader of torch that knows the numbers of its rows, reads no others. Of what else there is each
    process reads whole batches, which must be the same on all of them. What gives a process rows of its own already is
    left as it is: sets with `by_process = True`, and loaders with torch's `DistributedSampler`.
    """
    index, count = parts_read()
    if count == 1 or is_by_process(data):
        return fed(data, take, finish)

    def taken(*batch):
        return cut(take(*batch), index, count)

    def finished(batch):
        return cut(finish(batch), index, count)

    library = library_of(data)
    if library is None or library == "keras":
        found = fed(data, taken, finished)
    else:
        from kzoo.training.torch_loaders import loader_in_parts

        found = loader_in_parts(data, library, take, taken, index, count)
    if not hasattr(found, "send"):  # a generator takes no attributes, and is read once anyway
        found.by_process = True
    return found


def in_parts(x, batch_size=None, shuffle=False) -> Any:
    """Arrays as a set of which this process reads its rows, where several share each batch; anything else as it is."""
    return Parts(x, batch_size, shuffle) if isinstance(x, dict) and parts_read()[1] > 1 else x


def parted(arrays, share) -> tuple:
    """Arrays without the last of their rows, and those, as Keras takes them for a `validation_split`."""
    kept = int(len(next(iter(arrays.values()))) * (1.0 - share))
    return tuple({name: each[part] for name, each in arrays.items()} for part in (slice(kept), slice(kept, None)))


class Parts(keras.utils.PyDataset):
    """Arrays in batches, of which this process reads its own rows.

    Args:
        arrays: dict of arrays with a row for each sample.
        batch_size: rows of a whole batch; None for Keras' own.
        shuffle: a new order each epoch, the same on all processes.

    Example:
        >>> model.fit(Parts({"images": images, "token_ids": ids}, 256, shuffle=True))
    """

    by_process = True

    def __init__(self, arrays, batch_size, shuffle=False):
        super().__init__()
        self.arrays, self.batch_size, self.shuffle = arrays, batch_size or BATCH_SIZE, shuffle
        self.rows = len(next(iter(arrays.values())))
        self.part, self.epoch = parts_read(), 0
        self.seed = int(agreed(int(keras.random.randint((), 0, 2**30)))) if shuffle else 0
        self.order = self._order()

    def _order(self):
        random = np.random.default_rng((self.seed, self.epoch))
        return random.permutation(self.rows) if self.shuffle else np.arange(self.rows)

    def __len__(self) -> int:
        return -(-self.rows // self.batch_size)

    def __getitem__(self, index) -> dict:
        chosen = self.order[index * self.batch_size : (index + 1) * self.batch_size]
        own = chosen[own_rows(len(chosen), *self.part)]
        return marked_part({name: each[own] for name, each in self.arrays.items()}, len(chosen), *self.part)

    def on_epoch_end(self) -> None:
        self.epoch += 1
        self.order = self._order()
