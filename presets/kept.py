"""The weights of a kzoo folder: a safetensors file, with the names that Keras gives; in older folders an h5 file."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path

from kzoo.files.fingerprint import Fingerprints
from kzoo.files.numbers import check_finite
from kzoo.files.tensor_file import write_tensors
from kzoo.files.words import said_by
from kzoo.keras_contact import OF_METRICS, give_state, take_state
from kzoo.layers.changed import revive_lora
from kzoo.losses.base import snake_case
from kzoo.types import Array
from kzoo.weights.filled import check_weights
from kzoo.weights.hdf5 import Hdf5
from kzoo.weights.tensors import Safetensors

WEIGHTS_FILE, H5_FILE = "model.safetensors", "model.weights.h5"
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
    return {WEIGHTS_FILE: write_tensors(place / WEIGHTS_FILE, give, metadata, partial(_check_numbers, "the model"))}


def fingerprints(folder, config, verify) -> Fingerprints:
    """Around the reading of a folder's weights: they must be those that its config was saved with.

    Older configs say nothing of their weights.

    Args:
        folder: path.
        config: content of `config.json`.
        verify: False takes the weights as they are.
    """
    return Fingerprints(folder, config.get("fingerprints", {}) if verify else {}, "config.json")


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


def open_weights(folder, config) -> Safetensors | Hdf5:
    """The weights of a kzoo folder by their header, before anything is made of them: a `Safetensors` or `Hdf5`."""
    path = weights_path(folder, config)
    return Hdf5(path) if path.name == H5_FILE else Safetensors(path)


def read_weights(model, folder, config, partly=False) -> None:
    """Fill a model from the weights of a kzoo folder: every variable must be there, in its shape, and nothing else.

    Args:
        model: of the config.
        folder: path.
        config: content of `config.json`.
        partly: whether the file may hold more, the state of a training that is not wanted.

    Raises:
        FileNotFoundError: the folder has no weights.
        ValueError: weights that do not fit the model.
    """
    path = weights_path(folder, config)
    try:
        unread = take_state(model, path if path.name == H5_FILE else _Tensors(path))
        if path.name == H5_FILE:
            check_weights(model, path)
    except Exception as error:  # Keras and h5py raise whatever a damaged file makes them stumble over
        raise ValueError(
            f"the weights in {path} do not fit the model of config.json beside them: {said_by(error)}."
        ) from error
    if path.name == H5_FILE:  # of an older version, which wrote the state of the loss beside the weights
        own = {snake_case(each["loss"]) for each in config.get("loss") or ()} | {"weighted_sum"}
        unread = [name for name in unread if not own & set(name.split("/")[1:2])]
    if unread and not partly:
        more = f" and {len(unread) - LISTED} more" if len(unread) > LISTED else ""
        raise ValueError(
            f"the weights in {path} do not fit the model of config.json beside them: {len(unread)} tensors are left "
            f"over, {', '.join(unread[:LISTED])}{more}."
        )
    revive_lora(model)


class _Tensors(Safetensors):
    """A safetensors file as names to iterate over, whose numbers are looked at as they are read."""

    def __iter__(self) -> Iterator[str]:
        return iter(self.shapes)

    def read(self, name) -> Array:
        array = super().read(name)
        _check_numbers(self.path, name, array)
        return array


def _check_numbers(place, name, array):
    """Stops at what is none to compute with, but in metrics, which begin anew with each epoch."""
    if name.split("/", 1)[0] not in OF_METRICS:
        check_finite(array, f"{name} in {place}")
