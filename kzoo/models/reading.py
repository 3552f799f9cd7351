"""How `fit`, `evaluate` and `predict` read what they are given."""

import copy
import sys
import warnings

from kzoo.data.batches import Batches, Stretches


def to_train(x, steps_per_epoch):
    """`(x, steps_per_epoch)` for `keras.Model.fit`: of a kzoo set an epoch of so many batches goes on in the next."""
    if isinstance(x, Batches) and steps_per_epoch:
        return Stretches(x, steps_per_epoch), None
    return readable(x), steps_per_epoch


def to_test(x):
    """What `evaluate` and `predict` read: of a kzoo set every row once, in the source's order."""
    return x.in_order() if isinstance(x, Batches) else readable(x)


def to_validate(x):
    """As `to_test`, for `validation_data` of `fit`; that a set for training is read in another way is said."""
    if isinstance(x, Batches) and x.shuffle:
        warnings.warn(
            "validation_data has shuffle=True: it is read in the source's order nevertheless, every row once and "
            "nothing augmented, as numbers of one epoch are compared with those of another; shuffle=False says so.",
            stacklevel=3,
        )
    return to_test(x)


def readable(x):
    """The data themselves, but for a `DataLoader` of torch, whose dicts Keras takes on its torch backend alone.

    The one place that knows them: they are recognised without importing torch.
    """
    loaders = sys.modules.get("torch.utils.data")
    if loaders is None or not isinstance(x, loaders.DataLoader):
        return x
    loader = copy.copy(x)
    loader.collate_fn = _Named(x.collate_fn)
    return loader


class _Named:
    """Collates as before; a dict becomes a tuple of one, which Keras takes for the inputs on every backend."""

    def __init__(self, collate):
        self.collate = collate

    def __call__(self, rows):
        batch = self.collate(rows)
        return (batch,) if isinstance(batch, dict) else batch
