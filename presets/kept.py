"""The weights of a kzoo folder: a safetensors file, with the names that Keras gives; in older folders an h5 file."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from kzoo.files.fingerprint import OF_TENSORS, Fingerprints, TensorFingerprint, check_found
from kzoo.files.numbers import check_finite
from kzoo.files.tensor_file import write_tensors
from kzoo.files.tensor_reading import Safetensors
from kzoo.files.words import said_by
from kzoo.handed_over import memory_for
from kzoo.keras_contact import OF_METRICS, give_state, take_state
from kzoo.layers.changed import revive_lora
from kzoo.losses.base import snake_case
from kzoo.types import Array
from kzoo.weights.filled import check_weights
from kzoo.weights.hdf5 import Hdf5

WEIGHTS_FILE, H5_FILE = "model.safetensors", "model.weights.h5"
RECORD = "config.json"  # which says the fingerprint of the weights
LISTED = 4  # tensors that a sentence names


def write_weights(model, place, optimizer) -> dict:
    """Write the weights of a model into a folder, with the state of its training or without.

    What could not be opened again would take the place of what can.

    Returns:
        dict, the fingerprint of the file by its name, for the config beside it.

    Raises:
        ValueError: weights that are NaN or infinite.
    """
    metadata = {"format": "keras"}
    give = partial(give_state, model, training=optimizer)
    return {WEIGHTS_FILE: write_tensors(place / WEIGHTS_FILE, give, metadata, partial(check_numbers, "the model"))}


@contextmanager
def opened(folder, config, verify=True) -> Iterator:
    """The weights of a kzoo folder, while they are read: they must be those that its config was saved with.

    Configs of older versions say nothing of their weights, or have the fingerprint of the whole file.

    Args:
        folder: path.
        config: content of `config.json`.
        verify: False takes the weights as they are.

    Yields:
        `Tensors` or `Hdf5`, opened by its header, before anything is made of it.

    Raises:
        FileNotFoundError: the folder has no weights.
        ValueError: another file than was saved.
    """
    recorded = dict(config.get("fingerprints", {})) if verify else {}
    of_tensors = recorded.pop(WEIGHTS_FILE) if recorded.get(WEIGHTS_FILE, "").startswith(OF_TENSORS) else None
    with Fingerprints(folder, recorded, RECORD):
        file = open_weights(folder, config, of_tensors)
        try:
            yield file
        except Exception as error:
            if of_tensors is not None:
                file.check(error)
            raise
        if of_tensors is not None:
            file.check()


def check_state(file) -> None:
    """Stops where the config says that a training goes on, and the weights beside it hold no optimizer.

    Raises:
        ValueError: they do not.
    """
    if not any(name.startswith("optimizer/") for name in file.shapes):
        raise ValueError(
            f"{file.path} lacks the state of the optimizer with which {RECORD} says that the training goes on; put the "
            f"original back, or take 'compile' out of {RECORD} to begin anew from the weights."
        )


def weights_path(folder, config) -> Path:
    """Path of the weights of a kzoo folder.

    Raises:
        FileNotFoundError: the folder has none.
    """
    names = [WEIGHTS_FILE] if config.get("fingerprints") else [H5_FILE, WEIGHTS_FILE]
    path = next((folder / name for name in names if (folder / name).is_file()), None)
    if path is None:
        raise FileNotFoundError(
            f"{folder / WEIGHTS_FILE} is not there; give the folder its weights, or build the model untrained with "
            "load_weights=False."
        )
    return path


def open_weights(folder, config, recorded=None) -> "Tensors | Hdf5":
    """The weights of a kzoo folder by their header, before anything is made of them: `Tensors` or `Hdf5`."""
    path = weights_path(folder, config)
    return Hdf5(path) if path.name == H5_FILE else Tensors(path, recorded)


def read_weights(model, file, config, partly=False) -> None:
    """Fill a model from the weights of a kzoo folder: every variable must be there, in its shape, and nothing else.

    Args:
        model: of the config.
        file: `Tensors` or `Hdf5`.
        config: content of `config.json`.
        partly: whether the file may hold more, the state of a training that is not wanted.

    Raises:
        ValueError: weights that do not fit the model.
    """
    path = file.path
    try:
        unread = take_state(model, path if path.name == H5_FILE else file)
        if path.name == H5_FILE:
            check_weights(model, path)
    except Exception as error:  # Keras and h5py raise whatever a damaged file makes them stumble over
        raise ValueError(
            f"the weights in {path} do not fit the model of config.json beside them: {said_by(error)}."
        ) from error
    if not partly and (unread := left_over(unread, path, config)):
        raise ValueError(
            f"the weights in {path} do not fit the model of config.json beside them: {len(unread)} tensors are left "
            f"over, {_listed(unread)}."
        )
    revive_lora(model)


def left_over(names, path, config) -> list[str]:
    """Of the names of tensors that nothing of a model reads those that should not be in its file.

    Args:
        names: list of strings.
        path: of the file. One of an older version has the state of the loss beside the weights.
        config: content of `config.json`.
    """
    if path.name != H5_FILE:
        return names
    own = {snake_case(each["loss"]) for each in config.get("loss") or ()} | {"weighted_sum"}
    return [name for name in names if not own & set(name.split("/")[1:2])]


def misfits(shapes, file, config) -> Iterator[str]:
    """What reading would stop at, by the names and shapes of tensors alone: a sentence for each kind.

    Args:
        shapes: dict, name of each tensor that the model of the config keeps -> its shape.
        file: `Tensors` or `Hdf5`.
        config: content of `config.json`.
    """
    lacking = [name for name in shapes if name not in file.shapes]
    if lacking:
        yield f"{file.path} lacks {len(lacking)} tensors of the model of its config, {_listed(lacking)}."
    left = left_over([name for name in file.shapes if name not in shapes], file.path, config)
    if left:
        yield f"{file.path} has {len(left)} tensors that nothing of its config reads, {_listed(left)}."
    other = [name for name, shape in shapes.items() if file.shapes.get(name, shape) != shape]
    if other:
        said = [f"{name} of shape {file.shapes[name]} in place of {shapes[name]}" for name in other]
        yield f"{file.path} has {len(other)} tensors of other shapes than the model of its config, {_listed(said)}."


def _listed(words):
    more = f" and {len(words) - LISTED} more" if len(words) > LISTED else ""
    return f"{', '.join(words[:LISTED])}{more}"


class Tensors(Safetensors):
    """A safetensors file as names to iterate over, whose numbers are looked at as they are read.

    Args:
        path: of the file.
        recorded: fingerprint that it was saved with, None for any.
    """

    def __init__(self, path, recorded=None):
        super().__init__(path)
        self.recorded, self.found = recorded, TensorFingerprint(self.header)

    def __iter__(self) -> Iterator[str]:
        return iter(self.shapes)

    def read(self, name) -> Array:
        array = self._summed(name)
        check_numbers(self.path, name, array)
        return array

    def check(self, error=None) -> None:
        """Stops unless the file has the fingerprint that was recorded; what nothing has read so far is read for it.

        Args:
            error: with which the reading of the file has stopped, of which a foreign file is the better explanation.

        Raises:
            ValueError: another fingerprint.
        """
        try:
            for name in self.shapes:
                if name not in self.found:
                    self._summed(name)
        except ValueError:
            if error is None:
                raise
            return  # it cannot be read to its end, and that is the explanation
        check_found(self.path, self.found.text(), self.recorded, RECORD, error)

    def _summed(self, name):
        array = super().read(name, memory_for)
        if self.recorded is not None:
            self.found.add(name, array)
        return array


def check_numbers(place, name, array) -> None:
    """Stops at what is none to compute with, but in metrics, which begin anew with each epoch."""
    if name.split("/", 1)[0] not in OF_METRICS:
        check_finite(array, f"{name} in {place}")
