"""Data of several processes: each is given all of them, and takes its own rows of every batch."""

from typing import Any

import numpy as np

from kzoo.data.batches import Batches, Stretches
from kzoo.scale.engine import agreed, parts_read, process
from kzoo.scale.rows import cut
from kzoo.training.feed import fed, library_of
from kzoo.training.record import KERAS_BATCH_SIZE
from kzoo.training.run_data import ArrayOrder


def own_part(x) -> Any:
    """A set of kzoo as this process reads it, which opens its own rows only; anything else as it is."""
    index, count = parts_read()
    if count == 1 or not isinstance(x, (Batches, Stretches)) or is_by_process(x) or x.compares_rows:
        return x
    return x.of_part(index, count)


def is_by_process(data) -> bool:
    """Whether a set gives this process other rows than it gives the others."""
    if isinstance(data, (Batches, Stretches, ArrayOrder)):
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
    if count == 1 and process()[1] > 1 and is_by_process(data):
        raise NotImplementedError(
            f"the data, of type {type(data).__name__}, give each process rows of its own, but workers of TensorFlow "
            "share among them what each reads as a whole; give all of them the same data."
        )
    if count == 1:
        return fed(data, take, finish)

    def taken(*batch):
        return cut(take(*batch), index, count)

    def finished(batch):
        return cut(finish(batch), index, count)

    library = library_of(data)
    if is_by_process(data):
        found = fed(data, take, finish)
    elif library is None or library == "keras":
        found = fed(data, taken, finished)
    else:
        from kzoo.training.torch_loaders import loader_in_parts

        found = loader_in_parts(data, library, take, taken, index, count)
    if not hasattr(found, "send"):  # a generator takes no attributes, and is read once anyway
        found.by_process = True
    return found


def in_parts(x, batch_size=None, shuffle=False) -> Any:
    """Arrays as a set of which this process reads its rows, where several share each batch; anything else as it is."""
    if not isinstance(x, dict) or parts_read()[1] == 1:
        return x
    seed = int(agreed(np.random.randint(2**31))) if shuffle else 0
    return ArrayOrder(x, batch_size or KERAS_BATCH_SIZE, shuffle, seed)
