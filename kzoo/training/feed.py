"""Data on their way into a model: each batch made one dict, and handed over where its values can be seen."""

import copy
import itertools
import numbers
import os
import sys
from collections.abc import Iterator, Sized
from typing import Any

import keras
import numpy as np
from keras import ops


def joined(x, y=None, sample_weight=None) -> dict:
    """One dict of all arrays of a batch: targets by name and weights of samples are entries like others.

    Columns of pandas and tensors of another library become numpy arrays.
    """
    batch = dict(x) | (dict(y) if isinstance(y, dict) else {})
    if sample_weight is not None:
        weight = np.asarray(sample_weight) if isinstance(sample_weight, (list, tuple)) else sample_weight
        batch["sample_weight"] = weight
    return {name: _array(value) for name, value in batch.items()}


def _array(value):
    if isinstance(value, keras.KerasTensor) or ops.is_tensor(value) or not hasattr(value, "__array__"):
        return value
    array = np.asarray(value)
    if not array.dtype.isnative:  # torch takes one order of bytes, and no array that is read backwards
        array = array.astype(array.dtype.newbyteorder("="))
    return array.copy() if any(step < 0 for step in array.strides) else array


def is_data_set(x) -> bool:
    """Whether something yields batches when it is read, as Keras' data sets, those of TensorFlow and torch, and
    generators do; arrays, lists and texts are what somebody took for a batch.

    Raises:
        ValueError: it has a length, and that is 0: Keras would fail on the results of its last step.
    """
    plain = isinstance(x, (np.ndarray, list, tuple, dict, str, os.PathLike, numbers.Number)) or x is None
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


def fed(data, take, finish) -> Any:
    """A data set of the same kind that yields what `take` makes of its batches.

    Nothing is read ahead, and nothing is drawn: order and augmentation are those of the data set alone.

    Args:
        data: `keras.utils.PyDataset`, generator or another iterator, `tf.data.Dataset`, `torch.utils.data.DataLoader`;
            what else Keras reads, such as sets of grain, is given back as it is.
        take: function `(x, y, sample_weight)` of numpy arrays, tensors in host memory, or None, to one dict, which
            stops where something is wrong. Called with each batch when it comes for the first time.
        finish: function of that dict, of arrays or tensors without values, to what is yielded; `take` gives it so.

    Raises:
        ValueError: it is nothing that Keras reads.

    Example:
        >>> fed(data, joined, lambda batch: batch)
    """
    if isinstance(data, keras.utils.PyDataset):
        return Fed(data, take, finish)
    if isinstance(data, Iterator):
        return ((take(*_unpacked(batch)),) for batch in data)  # a tuple, as Keras wants it of a generator
    return {"tensorflow": _of_tensorflow, "torch": _of_torch}.get(library_of(data), _as_it_is)(data, take, finish)


def source_of(data) -> Any:
    """The data set that was given to `fed`, where that is known."""
    return data.source if isinstance(data, Fed) else data


class Fed(keras.utils.PyDataset):
    """A `PyDataset` whose batches go through a function, see `fed`."""

    def __init__(self, source, take, finish):
        super().__init__(source.workers, source.use_multiprocessing, source.max_queue_size)
        self.source, self.take, self.finish, self.seen = source, take, finish, set()

    @property
    def num_batches(self) -> int | None:
        return self.source.num_batches

    def __getitem__(self, index) -> Any:
        batch = _unpacked(self.source[index])
        if index in self.seen:
            return self.finish(joined(*batch))
        taken = self.take(*batch)
        self.seen.add(index)
        return taken

    def on_epoch_begin(self) -> None:
        self.source.on_epoch_begin()

    def on_epoch_end(self) -> None:
        self.source.on_epoch_end()


class Held(keras.utils.PyDataset):
    """The batches of an iterator, held in memory: what can be read once only, for those who read it again.

    Args:
        batches: an iterator.
        count: how many are taken; None takes all.

    Example:
        >>> model.evaluate(Held(generator, 10))
    """

    def __init__(self, batches, count=None):
        super().__init__()
        self.batches = list(itertools.islice(batches, count))

    def __len__(self) -> int:
        return len(self.batches)

    def __getitem__(self, index) -> Any:
        return self.batches[index]


class Counted:
    """An iterator that knows how many batches it gave, and whether it has ended."""

    def __init__(self, batches):
        self.batches, self.given, self.ended = batches, 0, False

    def __iter__(self) -> "Counted":
        return self

    def __next__(self) -> Any:
        try:
            batch = next(self.batches)
        except StopIteration:
            self.ended = True
            raise
        self.given += 1
        return batch


def _unpacked(batch):
    return keras.utils.unpack_x_y_sample_weight(tuple(batch) if isinstance(batch, list) else batch)


def library_of(data) -> str | None:
    """Whose data set it is: `"keras"`, `"tensorflow"`, `"torch"`, or `"other"`; None of an iterator.

    Raises:
        ValueError: of none that Keras reads.
    """
    if isinstance(data, (keras.utils.PyDataset, Iterator)):
        return "keras" if isinstance(data, keras.utils.PyDataset) else None
    tensorflow, torch = sys.modules.get("tensorflow"), sys.modules.get("torch")  # imported, if it is one of theirs
    if tensorflow is not None and isinstance(data, tensorflow.data.Dataset):
        return "tensorflow"
    if torch is not None and isinstance(data, torch.utils.data.DataLoader):
        return "torch"
    if {"grain", "tensorflow", "keras"} & {each.__module__.split(".")[0] for each in type(data).__mro__}:
        return "other"
    raise ValueError(
        f"the data are of type {type(data).__name__}, which cannot be read in batches; give a dict of arrays, or "
        "what yields such dicts: a set of kzoo.data, a keras.utils.PyDataset, a generator, a tf.data.Dataset or a "
        "DataLoader of torch."
    )


def _as_it_is(data, take, finish):
    return data


def _of_tensorflow(data, take, finish):
    """Values are seen by a Python function within the graph, which hands them on as they are."""
    import tensorflow as tf

    seen = set()

    @tf.autograph.experimental.do_not_convert
    def taken(index, *batch):
        x, y, weight = _unpacked(batch[0] if len(batch) == 1 else batch)
        if not isinstance(x, dict) or not (y is None or isinstance(y, dict)):
            return take(x, y, weight)  # which says what is wrong
        parts = {"x": x, "y": y or {}, "w": {} if weight is None else {"sample_weight": weight}}
        names = [(part, name) for part, of_part in parts.items() for name in of_part]

        def look(index, *arrays):
            if int(index) not in seen:
                given = {part: {} for part in parts}
                for (part, name), array in zip(names, arrays):
                    given[part][name] = array
                take(given["x"], None if y is None else given["y"], given["w"].get("sample_weight"))
                seen.add(int(index))
            return index

        looked = tf.numpy_function(look, [index, *(parts[part][name] for part, name in names)], index.dtype)
        with tf.control_dependencies([looked]):
            return finish({name: tf.identity(parts[part][name]) for part, name in names})

    return data.enumerate().map(taken)


def _of_torch(data, take, finish):
    """A second loader of the same samples: only what puts them together differs."""
    loader = copy.copy(data)
    loader.collate_fn = collated(data.collate_fn, take)
    return loader


def collated(collate, take) -> Any:
    """The function that puts samples together for Keras on torch: `collate`, then `take`, see `fed`."""
    import torch

    def seen(value):
        hidden = not isinstance(value, torch.Tensor) or value.device.type != "cpu" or value.dtype == torch.bfloat16
        return value if hidden else value.detach().numpy()

    def put_together(samples):
        taken = take(*keras.tree.map_structure(seen, _unpacked(collate(samples))))
        return ({name: torch.as_tensor(value) for name, value in taken.items()},)

    return put_together
