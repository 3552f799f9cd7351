"""The engine that runs a step on many devices: that of the backend, behind the same names for all three.

Each of `ENGINES` has `started`, and of the functions of `one_device`, which says what they do, those that are otherwise
on many devices.
"""

from collections.abc import Callable
from functools import wraps
from importlib import import_module
from typing import Any

import keras

from kzoo.scale import one_device
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
    return _of("process")()


def count() -> int:
    """Among how many replicas or processes a batch is shared, so that a step sees its own rows only; else 1."""
    return _of("count")()


def parts_read() -> tuple[int, int]:
    """Which part of each batch data sets give here, and how many there are; `(0, 1)` where the engine deals them."""
    return _of("parts_read")()


def check(model) -> None:
    """Stops at what shares a model among devices in a way in which a batch would not give the gradients of one."""
    _of("check")(model)


# -- within a step --
def part_of(batch) -> Part:
    """The part of a batch that a step is given here, see `kzoo.scale.one_device.Part`; called within a step."""
    return _of("part_of")(batch)


def shared(loss) -> Any:
    """What a step differentiates, so that what the engine adds up is the gradient of the loss."""
    return _of("shared")(loss)


def averaged(gradients) -> list:
    """The gradients of all, where the engine does not add them up itself; None stays None where it is None for all."""
    return _of("averaged")(gradients)


def whole_statistics(model) -> Any:
    """A context in which statistics that layers take of a batch, such as batch norms, are those of all its rows."""
    return _of("whole_statistics")(model)


def own_draws(model) -> Any:
    """A context in which dropout of a model draws other numbers here than in other processes, which have other rows."""
    return _of("own_draws")(model)


def logged(results) -> dict:
    """Results of a step, scalars by name, as Keras takes them; called within a step."""
    return _of("logged")(results)


# -- around `fit` and the others --
def begun(model, training) -> None:
    """Processes go on from the weights of the first; called before they train or measure."""
    _of("begun")(model, training)


def ended(model, training) -> None:
    """Processes wait for each other when an epoch or a measurement ends; their weights must be the same."""
    _of("ended")(model, training)


def agreed(value) -> Any:
    """The number that the first process has, on all of them: of clocks, and of what is drawn."""
    return _of("agreed")(value)


def of_all(array) -> list:
    """An array of the memory of the host as each process has it, in their order: of one shape and dtype on all."""
    return _of("of_all")(array)


def counted_by(value) -> int:
    """How many replicas count in the value of a variable each for itself, so that it reads as the sum of all."""
    return _of("counted_by")(value)


def once(action, computes=False) -> Any:
    """What one process alone does, such as to write a file, while others wait; all get what it gives.

    Args:
        action: function of nothing.
        computes: whether it runs the model, which processes of jax can only do together.
    """
    return _of("once")(action, computes)


def dealt(model, batch) -> dict:
    """What a step is called with for a whole batch, where Keras is handed one without a data set."""
    return _of("dealt")(model, batch)


def scope_of(model) -> Any:
    """A context in which what a model is given, such as its optimizer's state, is made as its weights were."""
    return _of("scope_of")(model)


def within_scope(method) -> Callable:
    """A method of a model that runs in the `scope_of` it."""

    @wraps(method)
    def run(model, *arguments, **options):
        with scope_of(model):
            return method(model, *arguments, **options)

    return run


def feeding() -> Any:
    """A context around `fit` and the others in which batches come to the devices."""
    return _of("feeding")()


def whole(outputs) -> dict:
    """Outputs of `predict` such that this process can read all rows of them; called within a step."""
    return _of("whole")(outputs)


def _of(name):
    return getattr(engine(), name, None) or getattr(one_device, name)
