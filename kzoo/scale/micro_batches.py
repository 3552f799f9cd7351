"""Towers in micro-batches, a loss over the whole batch: activations of a few rows, gradients of all (GradCache)."""

from dataclasses import dataclass
from importlib import import_module
from typing import Any

import keras
from keras import ops

from kzoo.types import Tensor

ADDED = "added loss "  # begins the names of what layers add to the loss, among the outputs of a micro-batch


def forward(model, batch, names, training) -> tuple[dict[str, Tensor], list]:
    """Outputs of a whole batch, and the losses that layers add: what a step reads of a model.

    A batch of more rows than `model.micro_batch_size` runs in `k = ceil(rows / micro_batch_size)` micro-batches, rows
    `i::k` each, none of them more than one row smaller than another. The outputs are those of the batch as a whole;
    where gradients are taken, every micro-batch runs a second time, from the state that it started from the first
    time, so that its dropout is the same, and only its own activations are held. See `ContrastiveModel.compile`.

    Args:
        model: a compiled model of kzoo.
        batch: dict of tensors, a row for each sample.
        names: of the outputs.
        training: as in Keras.

    Returns:
        `(outputs, losses)`: a dict of tensors by name, and a list of float scalars, those of `model.losses`.

    Raises:
        ValueError: outputs that have no row for each sample, or weights that are no sum over samples (float8).

    Example:
        >>> outputs, losses = forward(model, batch, ("image_embeddings", "text_embeddings"), training=True)

    Reference:
        Gao et al., Scaling Deep Contrastive Learning Batch Size under Memory Limited Setup, 2021, arXiv 2101.06983.
    """
    most = model.micro_batch_size
    rows = next(iter(batch.values())).shape[0]
    if most is None or (rows is not None and rows <= most):
        return model(batch, training=training, only=names), list(model.losses)
    _check_weights(model)
    part = Part(model, tuple(names), training)
    joined = import_module(f"kzoo.scale.recompute_{keras.config.backend()}").joined
    outputs = part.in_place(joined(part, batch, most))
    added = [ops.mean(outputs.pop(name)) for name in list(outputs) if name.startswith(ADDED)]
    return outputs, [*added, *model.losses]  # of which a call in another scope leaves regularisers of weights alone


@dataclass
class Part:
    """What a model makes of one micro-batch: outputs and states, of weights, states and rows.

    Attributes:
        model, names, training: as in `forward`.
        trained, state: variables of the model, those that get gradients and the others.
        read: for each of `trained` whether it is read, known once some rows have run.
        changed: for each of `state` whether it is changed, likewise.
    """

    model: Any
    names: tuple
    training: bool

    def __post_init__(self) -> None:
        self.trained = self.model.trainable_variables
        self.state = self.model.non_trainable_variables
        self.read, self.changed = [], []

    def __call__(self, rows, mapping=(), names=None) -> tuple[dict, list]:
        """Run some rows.

        Args:
            rows: dict of tensors, of one micro-batch.
            mapping: pairs of a variable and the tensor that stands for it.
            names: of outputs, if not all of them.

        Returns:
            `(outputs, state)`: a dict of tensors whose first axis are the rows, and a value for each variable of
            `state` afterwards, None of those that neither `mapping` nor the model gave one.
        """
        count = ops.shape(next(iter(rows.values())))[0]
        with _Reading(mapping, collect_losses=True) as scope:
            before = [scope.get_current_value(each) for each in self.state]
            outputs = self.model(rows, training=self.training, only=self.names if names is None else names)
            added, read = list(scope.losses), scope.read
            state = [scope.get_current_value(each) for each in self.state]
        self.changed = [new is not old for new, old in zip(state, before)]
        self.read = [id(each) in read for each in self.trained]
        outputs = {name: self._rows_first(name, value, count) for name, value in outputs.items()}
        for number, loss in enumerate(added):  # one for each row, so that their mean is that of the batch
            outputs[f"{ADDED}{number}"] = ops.broadcast_to(loss, (count,))
        return outputs, state

    def _rows_first(self, name, value, count):
        axis = self.model.batch_axes.get(name, 0)
        known = ops.is_tensor(value) and len(value.shape) > axis
        shape = tuple(value.shape) if known else None
        if not known or self.model.shape_of(name)[axis] is not None or _differs(shape[axis], count):
            found = f"of shape {shape}" if known else f"of type {type(value).__name__}"
            raise ValueError(
                f"the loss reads {name!r}, which is {found} in a micro-batch of {count} rows: it has no row for each "
                "sample, so those of several micro-batches are not that of the batch; compile without micro_batch_size."
            )
        return value if axis == 0 else ops.swapaxes(value, 0, axis)

    def in_place(self, outputs) -> dict:
        """Joined outputs with the rows where the model has them."""
        axes = self.model.batch_axes
        return {name: ops.swapaxes(each, 0, axes[name]) if name in axes else each for name, each in outputs.items()}


class _Reading(keras.StatelessScope):
    """Remembers by their id which variables are read."""

    def __init__(self, *arguments, **keywords):
        super().__init__(*arguments, **keywords)
        self.read = set()

    def get_current_value(self, variable) -> Any:
        self.read.add(id(variable))
        return super().get_current_value(variable)


def _differs(side, count):
    """Whether a side of a shape is known to be another number than that of the rows."""
    return side is not None and (ops.is_tensor(count) or side != count)


def _check_weights(model):
    for variable in model.trainable_variables:
        if getattr(variable, "overwrite_with_gradient", False):
            raise ValueError(
                f"{variable.path} is a scale of float8, which the last gradient replaces, but those of micro-batches "
                "are summed; compile without micro_batch_size, or leave the model in another precision."
            )
