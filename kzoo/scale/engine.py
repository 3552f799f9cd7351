"""The engine that runs a step on many devices: that of the backend, behind the same names for all three.

Each of `ENGINES` has `started` and the functions of `one_device`, which says what they do.
"""

from importlib import import_module
from typing import Any

import keras

from kzoo.scale.one_device import Part

ENGINES = {
    "jax": "kzoo.scale.jax_devices",
    "tensorflow": "kzoo.scale.tensorflow_replicas",
    "torch": "kzoo.scale.torch_processes",
}


def engine() -> Any:
    """The module of the backend, which imports its framework where it needs it."""
    return import_module(ENGINES[keras.config.backend()])


def process() -> tuple[int, int]:
    """Which of several processes this is, and how many there are: who reads which rows, and who saves.

    Returns:
        `(index, count)`; `(0, 1)` where one process runs all devices. The process 0 is the one that saves.

    Example:
        >>> index, count = kzoo.scale.process()
        >>> if index == 0:
        ...     print(results)
    """
    return engine().process()


def count() -> int:
    """Among how many replicas or processes a batch is shared, so that a step sees its own rows only; else 1."""
    return engine().count()


def part_of(batch) -> Part:
    """The part of a batch that a step is given here, see `kzoo.scale.one_device.Part`; called within a step."""
    return engine().part_of(batch)


def shared(loss) -> Any:
    """What a step differentiates, so that what the engine adds up is the gradient of the loss."""
    return engine().shared(loss)


def averaged(gradients) -> list:
    """The gradients of all, where the engine does not add them up itself; None stays None where it is None for all."""
    return engine().averaged(gradients)


def whole_statistics(model) -> Any:
    """A context in which statistics that layers take of a batch, such as batch norms, are those of all its rows."""
    return engine().whole_statistics(model)


def dealt(model, batch) -> dict:
    """What a step is called with for a whole batch, where Keras is handed one without a data set."""
    return engine().dealt(model, batch)


def scope_of(model) -> Any:
    """A context in which what a model is given, such as its optimizer's state, is made as its weights were."""
    return engine().scope_of(model)
