"""Loaders of torch for the rows of one of several processes."""

from collections.abc import Iterator
from typing import Any

from kzoo.scale.engine import agreed
from kzoo.scale.rows import marked_part, own_rows
from kzoo.training.feed import collated


def loader_in_parts(data, library, take, taken, index, count) -> Any:
    """A loader that gives the rows of this process.

    Args:
        data: loader of torch, `tf.data.Dataset`, or another set that can be read again.
        library: as `kzoo.training.feed.library_of` says it.
        take: function of a batch as Keras knows it, `(x, y, sample_weight)`, to a dict.
        taken: the same, to the rows of this process of a whole batch.
        index, count: of the process.
    """
    if library == "torch" and data.batch_sampler is not None:
        return _of_numbered_rows(data, take, index, count)
    read = data.as_numpy_iterator if library == "tensorflow" else data.__iter__
    return _iterated(data, read, taken)


def _has_length(data):
    try:
        return len(data) >= 0
    except TypeError:
        return False


def _iterated(data, read, make):
    """What a function makes of the batches of a set, each of them a tuple, as Keras wants it."""
    import torch

    class Iterated(torch.utils.data.IterableDataset):
        def __iter__(self) -> Iterator:
            for batch in read():
                yield (collated(lambda samples: samples, make)(batch)[0],)

    class Counted(Iterated):  # a set that knows how many there are
        def __len__(self) -> int:
            return len(data)

    return torch.utils.data.DataLoader(Counted() if _has_length(data) else Iterated(), batch_size=None)


class Chosen(list):
    """Numbers of rows, of a batch that has `rows` of them in all."""

    def __init__(self, numbers, rows):
        super().__init__(numbers)
        self.rows = rows

    def __reduce__(self) -> tuple:  # to the workers of a loader
        return Chosen, (list(self), self.rows)


class OwnBatches:
    """The batches of a sampler, which draws the same ones on all processes, and of each the rows of this one."""

    def __init__(self, batches, index, count):
        self.batches, self.index, self.count = batches, index, count

    def __iter__(self) -> Iterator:
        import torch

        seed = int(agreed(int(torch.randint(2**31, ()))))
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            batches = list(self.batches)
        for chosen in batches:
            yield Chosen(list(chosen)[own_rows(len(chosen), self.index, self.count)], len(chosen))

    def __len__(self) -> int:
        return len(self.batches)


class Numbered:
    """The samples of a set, with the rows that the whole batch has."""

    def __init__(self, data):
        self.data = data

    def __getitems__(self, chosen) -> tuple:
        many = getattr(self.data, "__getitems__", None)
        return (many(list(chosen)) if many else [self.data[each] for each in chosen]), chosen.rows

    def __len__(self) -> int:
        return len(self.data)


def _of_numbered_rows(loader, take, index, count):
    import torch

    collate = collated(loader.collate_fn, take)

    def of_part(found):
        samples, rows = found
        return (marked_part(collate(samples)[0], rows, index, count),)

    options = ("num_workers", "pin_memory", "timeout", "worker_init_fn", "multiprocessing_context", "generator")
    options += ("prefetch_factor", "persistent_workers")
    return torch.utils.data.DataLoader(
        Numbered(loader.dataset),
        batch_sampler=OwnBatches(loader.batch_sampler, index, count),
        collate_fn=of_part,
        **{name: getattr(loader, name) for name in options},
    )
