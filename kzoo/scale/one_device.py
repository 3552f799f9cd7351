"""A step on one device, or on many where a batch stays whole: it sees all rows, and nothing is added up after it."""

from contextlib import nullcontext
from typing import Any

from keras import ops

from kzoo.layers.linear_logits import LinearLogits
from kzoo.types import Tensor


class Part:
    """The rows of a batch that a step computes here, and the way from them to those of all devices.

    This one is the whole batch; engines that share a batch have parts of their own.

    Args:
        batch: dict of tensors with a row for each sample.

    Attributes:
        batch: the rows that are computed here, a dict of tensors.
        rows: how many rows the whole batch has.
        own: how many rows count here for a mean that the engine adds up over all devices; where it adds none up, all.
    """

    def __init__(self, batch):
        self.batch = batch
        self.rows = self.own = ops.shape(next(iter(batch.values())))[0]

    def gathered(self, tensors, axes=None) -> dict:
        """The rows of all, in their order, with a gradient to those that were computed here.

        Args:
            tensors: dict of tensors, or of `LinearLogits`, with the rows that are computed here.
            axes: name -> the axis of the rows, where it is not the first.
        """
        return tensors


class SharedPart(Part):
    """The rows of one of several devices that share a batch.

    An engine says which these are, and defines `rows_of_all`.

    Attributes:
        computed: how many rows are computed here; None where that is not known before the step runs.
    """

    def rows_of_all(self, tensor, axis) -> Tensor:
        """The rows of all devices on this axis, in their order, with a gradient to those of this one."""
        raise NotImplementedError(f"{type(self).__module__} does not say how the rows of all devices come together.")

    def gathered(self, tensors, axes=None) -> dict:
        return {name: self._gathered(name, each, (axes or {}).get(name, 0)) for name, each in tensors.items()}

    def _gathered(self, name, tensor, axis):
        if isinstance(tensor, LinearLogits):
            return tensor._replace(states=self._gathered(name, tensor.states, axis))
        tensor = ops.convert_to_tensor(tensor)
        if not len(tensor.shape):
            return tensor
        rows = tensor.shape[axis] if len(tensor.shape) > axis else 0
        if rows is not None and rows != self.computed:
            raise NotImplementedError(
                f"the loss reads {name!r} of shape {tuple(tensor.shape)}, which has no row for each sample, so it "
                "cannot be put together with that of the other devices; train on one, or give it as a constant of the "
                "loss."
            )
        return self.rows_of_all(tensor, axis)


def part_of(batch) -> Part:
    """The part of a batch that a step is given here."""
    return Part(batch)


def count() -> int:
    """Among how many replicas or processes a batch is shared, so that a step sees its own rows only."""
    return 1


def process() -> tuple[int, int]:
    """This process, from 0, and how many there are."""
    return 0, 1


def shared(loss) -> Any:
    """What a step differentiates, so that what the engine adds up is the gradient of the loss."""
    return loss


def averaged(gradients) -> list:
    """The gradients of all, where the engine does not add them up itself; None stays None."""
    return gradients


def parts_read() -> tuple[int, int]:
    """Which part of each batch data sets give here, and among how many it is shared by them: not by the engine."""
    return 0, 1


def check(model) -> None:
    """Stops at what shares a model among devices in a way that nobody has tried."""


def whole_statistics(model) -> Any:
    """A context in which statistics that layers take of a batch are those of all its rows."""
    return nullcontext()


def own_draws(model) -> Any:
    """A context in which dropout of a model draws other numbers for the rows of another process."""
    return nullcontext()


def begun(model, training) -> None:
    """Processes go on from the same weights; called before they train or measure."""


def ended(model, training) -> None:
    """Processes wait for each other at the end of an epoch, or of a measurement."""


def agreed(value) -> Any:
    """The number that the first process has, on all of them."""
    return value


def of_all(array) -> list:
    """An array of the memory of the host as each process has it, in their order: of one shape and dtype on all."""
    return [array]


def counted_by(value) -> int:
    """How many replicas count in the value of a variable each for itself, so that it reads as the sum of all."""
    return 1


def once(action, computes=False) -> Any:
    """What one process alone does, such as to write a file, while others wait; all get what it gives."""
    return action()


def dealt(model, batch) -> dict:
    """What a step is called with for a whole batch, where Keras is handed one without a data set."""
    return batch


def scope_of(model) -> Any:
    """A context in which what a model is given, such as its optimizer's state, is made as its weights were."""
    return nullcontext()


def feeding() -> Any:
    """A context around `fit` and the others in which batches come to the devices."""
    return nullcontext()


def whole(outputs) -> dict:
    """Outputs of `predict` such that this process can read all rows of them; called within a step."""
    return outputs


def logged(results) -> dict:
    """Results of a step, scalars by name, as Keras takes them; called within a step."""
    return results
