"""The walk of Keras through all that it keeps of a model, and its files."""

import inspect
from functools import partial, wraps
from pathlib import Path
from typing import Any

import keras
from keras.src.legacy.saving import legacy_h5_format
from keras.src.optimizers.base_optimizer import BaseOptimizer
from keras.src.saving import saving_lib

from kzoo.handed_over import handed_over
from kzoo.keras_contact.attributes import untracked

# what `compile` attaches, as the walk calls it: beginnings of the names of tensors that belong to a training
OF_METRICS = ("_loss_tracker", "_compile_metrics", "_metrics")
OF_TRAINING = ("optimizer", *OF_METRICS, "_compile_loss")


def write_by(kind) -> None:
    """Has a kind of models say how files of theirs are written, whoever asks for one.

    `keras.saving.save_model` and `save_weights` ask no method of a model, and empty a file before they look at what
    they are to write. Models of other kinds are written as ever.

    Args:
        kind: class of models with two methods of a path: `refuse_h5`, which stops; and `written`, a context manager
            around the writing of a file, with the path to write in place of the one that was asked for.
    """
    for name in ("save_model", "save_weights_only"):
        setattr(saving_lib, name, _written(getattr(saving_lib, name), kind))
    legacy_h5_format.save_model_to_hdf5 = _refused(legacy_h5_format.save_model_to_hdf5, kind)


def _written(write, kind):
    @wraps(write)
    def written(model, filepath, *arguments, **options):
        given = inspect.signature(write).bind(model, filepath, *arguments, **options).arguments
        in_shards = given.get("max_shard_size") is not None  # files whose names Keras makes of this one
        if not isinstance(model, kind) or in_shards:
            return write(model, filepath, *arguments, **options)
        with model.written(filepath) as path:
            return write(model, path, *arguments, **options)

    return written


def _refused(write, kind):
    @wraps(write)
    def refused(model, filepath, *arguments, **options):
        for each in model._flatten_layers():
            if isinstance(each, kind):
                each.refuse_h5(filepath)
        return write(model, filepath, *arguments, **options)

    return refused


def give_state(model, give, training) -> None:
    """Hand over, one by one, all that Keras keeps of a model in a file.

    Args:
        model: a built model of kzoo, compiled or not.
        give: function of a name, that of the tensor in a `.weights.h5`, and an array.
        training: whether what `compile` has attached is of it: the optimizer, the loss with its state, and the metrics,
            which count what a running epoch has seen.
    """
    left_out = [model.optimizer, model.objective, *model.metrics] if model.compiled and not training else []
    store, seen = _Store((), give), {id(each) for each in left_out}
    saving_lib._save_state(model, weights_store=store, assets_store=None, inner_path="", visited_saveables=seen)


def build_without_values(optimizer, variables) -> None:
    """Build an optimizer for weights that have names and shapes alone. TensorFlow would put its variables where the
    values of the weights are, and know the weights by their values.

    Args:
        optimizer: of Keras.
        variables: list of weights.
    """
    for each in (optimizer, getattr(optimizer, "inner_optimizer", None)):
        if each is not None:
            for name in ("add_variable_from_reference", "_var_key"):
                untracked(each, name, partial(getattr(BaseOptimizer, name), each))
    optimizer.build(variables)


def take_state(model, tensors) -> list[str]:
    """Fill a model with what `give_state` gave or, of a path, with the content of a `.weights.h5`.

    Args:
        model: of the config of the other.
        tensors: path of an h5 file; or names to iterate over, with a method `read` of a name that gives an array.

    Returns:
        list of the names that nothing has read, sorted.

    Raises:
        ValueError: a tensor that is missing or does not fit.
        OSError: what h5 raises for a file that is none.
    """
    store, failed = _H5(tensors) if isinstance(tensors, Path) else _Store(tensors), set()
    said = _Said(store)
    of_walk = {"visited_saveables": set(), "failed_saveables": failed, "error_msgs": said}
    try:
        saving_lib._load_state(model, weights_store=store, assets_store=None, inner_path="", **of_walk)
        if failed:
            owner, error = next(iter(said.values()))
            text, _, _ = str(error).partition(" Target variable:")  # with all its values
            raise ValueError(f"{getattr(owner, 'path', type(owner).__name__)}: {text}") from error
        return sorted(set(store.names()) - store.read)
    finally:
        store.close()


class _Said(dict):
    """Errors by layer. Keras looks for a layer wherever it is kept, and where one failed it goes on to places at which
    there is nothing of it: what it says there is no reason."""

    def __init__(self, store):
        super().__init__()
        self.store = store

    def __setitem__(self, layer, error) -> None:
        if layer not in self or self.store.has_some():
            super().__setitem__(layer, error)


def left_over(model, names) -> list[str]:
    """Of the names of tensors in a `.weights.h5` those for which a model has no place, sorted."""
    known = set()
    give_state(model, lambda name, array: known.add(name), training=True)
    return sorted(set(names) - known)


class _H5(saving_lib.H5IOStore):
    """Keras' reader of h5 files, which knows what of one was read."""

    def __init__(self, path):
        super().__init__(path, mode="r")
        self.read, self.at = set(), ""

    def get(self, path) -> Any:
        self.at = path
        return super().get(path)

    def __getitem__(self, key) -> Any:
        self.read.add(f"{self.at}/vars/{key}".removeprefix("/"))
        return super().__getitem__(key)

    def has_some(self) -> bool:
        """Whether it holds variables at the place that was asked for last."""
        return any(name.startswith(f"{self.at}/vars/".removeprefix("/")) for name in self.names())

    def names(self) -> list[str]:
        found = []
        self.h5_file.visititems(lambda name, item: found.append(name) if hasattr(item, "shape") else None)
        return found


class _Store(saving_lib.H5IOStore):
    """The tensors of any other file, in the form in which Keras' walk through a model asks for them."""

    def __init__(self, tensors, give=None):  # there is no file that the base could open
        self.tensors, self.give, self.read, self.at, self.places = tensors, give, set(), "", {}
        for name in tensors:
            path, _, key = f"/{name}".rpartition("/vars/")
            self.places.setdefault(path.removeprefix("/"), {})[key] = name
        self.folders = set()
        for path in self.places:
            while path not in self.folders:  # its own folders are there, too, where it is
                self.folders.add(path)
                path = path.rpartition("/")[0]

    def __bool__(self) -> bool:
        return True

    def make(self, path, metadata=None) -> "_Store":
        self.at = path
        return self

    get = make

    def has_path(self, path) -> bool:
        return path in self.folders

    def close(self) -> None:
        """Nothing: who opened the tensors closes them."""

    def has_some(self) -> bool:
        return len(self) > 0

    def names(self) -> Any:
        return self.tensors

    def keys(self) -> Any:
        return self.places.get(self.at, {}).keys()

    def __len__(self) -> int:
        return len(self.keys())

    def __contains__(self, key) -> bool:
        return key in self.keys()

    def __getitem__(self, key) -> Any:
        name = self.places[self.at][key]
        self.read.add(name)
        return handed_over(self.tensors.read(name))

    def __setitem__(self, key, value) -> None:
        self.give(f"{self.at}/vars/{key}".removeprefix("/"), keras.ops.convert_to_numpy(value))
