"""How `fit`, `evaluate` and `predict` read what they are given."""

import warnings
from typing import Any

from kzoo.data.batches import Batches, Stretches


def to_train(x, steps_per_epoch) -> tuple:
    """`(x, steps_per_epoch)` for `keras.Model.fit`: of a kzoo set an epoch of so many batches goes on in the next."""
    if isinstance(x, Batches) and steps_per_epoch:
        return Stretches(x, steps_per_epoch), None
    return x, steps_per_epoch


def to_test(x) -> Any:
    """What `evaluate` and `predict` read: of a kzoo set every row once, in the source's order."""
    return x.in_order() if isinstance(x, Batches) else x


def to_validate(x) -> Any:
    """As `to_test`, for `validation_data` of `fit`; that a set for training is read in another way is said."""
    if isinstance(x, Batches) and x.shuffle:
        warnings.warn(
            "validation_data has shuffle=True: it is read in the source's order nevertheless, every row once and "
            "nothing augmented, as numbers of one epoch are compared with those of another; shuffle=False says so.",
            stacklevel=3,
        )
    return to_test(x)
