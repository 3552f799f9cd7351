"""Bad input, found before it reaches a graph: each check stops with one sentence."""

import numbers
import os
from collections.abc import Sized

import numpy as np
from keras import ops

from kzoo.models.slots import rows_of_bag


def contents(batch):
    """What stands where a batch should be, for a sentence: its keys, or its type."""
    return f"the keys {list(batch)}" if isinstance(batch, dict) else f"the type {type(batch).__name__}"


def check_rows(batch):
    """The arrays of a batch have the same number of rows, at least one."""
    shapes = {name: tuple(value.shape) for name, value in batch.items() if _is_array(name, value)}
    rows = {name: shape[0] for name, shape in shapes.items() if shape}
    if 0 in rows.values():
        raise ValueError(f"the batch is empty: {rows}; give at least one row.")
    if len({count for count in rows.values() if count is not None}) > 1:
        raise ValueError(f"the arrays of a batch have different numbers of rows: {rows}.")


def _is_array(name, value):
    if isinstance(value, (list, tuple, str, dict)) or value is None:
        raise ValueError(
            f"{name!r} of the batch is of type {type(value).__name__}, but an array with a row for each sample is "
            "expected; make one with numpy.asarray, or with model.preprocessor."
        )
    return True


def check_arrays(slot, tower, batch, bag):
    """The arrays of a slot are what its tower declares, row by row.

    Shapes are checked for every kind of tensor; values only where they are numpy arrays, which is how batches arrive
    from users. Checking tensors would stall an accelerator at every step.
    """
    arrays = slot.given(batch)
    if bag is not None:
        if bag == 0:
            raise ValueError(f"{slot.first} have shape {tuple(batch[slot.first].shape)}: the bags are empty.")
        arrays = {name: rows_of_bag(each) for name, each in arrays.items()}
    tower.check(arrays, slot.arrays, any_size=slot.any_size)


def check_training_set(x, batch_size):
    """A contrastive step needs a second pair to tell apart from the first."""
    rows = {array.shape[0] for array in x.values()} if isinstance(x, dict) else set()
    if batch_size == 1 or 1 in rows:
        raise ValueError(
            "a batch of one pair has no negative, so a contrastive loss is 0 and nothing is learned; train "
            "with a batch_size of at least 2."
        )


def is_data_set(x):
    """Whether something yields batches when it is read, as Keras' data sets, those of TensorFlow and torch, and
    generators do; arrays, lists and texts are what somebody took for a batch.

    Raises:
        ValueError: it has a length, and that is 0: Keras would fail on the results of its last step.
    """
    plain = isinstance(x, (np.ndarray, list, tuple, str, os.PathLike, numbers.Number)) or x is None
    if plain or ops.is_tensor(x):
        return False
    if isinstance(x, Sized) and _batches(x) == 0:
        raise ValueError(f"the data set, of type {type(x).__name__}, holds no batch; give it at least one.")
    return True


def _batches(x):
    """The length of a data set; None where it does not know it, as some of TensorFlow."""
    try:
        return len(x)
    except TypeError:
        return None


def check_compile(options):
    """Arguments of `compile` that Keras has for targets are refused by name."""
    for name in ("metrics", "weighted_metrics"):
        if options.get(name) is not None:
            raise TypeError(
                f"compile was given {name}={options[name]!r}, which compare predictions with targets, and pairs have "
                "none; evaluate gives accuracy and recall by itself, other numbers come from a callback."
            )
    if options.get("loss_weights") is not None:
        raise TypeError(
            f"compile was given loss_weights={options['loss_weights']!r}; weigh the terms of the loss itself: "
            "loss=InfoNCE() + 2.0 * Captioning()."
        )
