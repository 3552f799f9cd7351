"""One step of training, evaluation or prediction, to be read: batch, outputs, loss, gradients, teacher, logs."""

from contextlib import nullcontext
from functools import partial
from typing import Any

import keras
from keras import ops

from kzoo import keras_contact
from kzoo.layers.similarity import tensors_of
from kzoo.losses.parts.blocks import blocks_of
from kzoo.scale.engine import logged, own_draws, part_of, parts_read, whole, whole_statistics
from kzoo.scale.micro_batches import forward
from kzoo.training.autodiff import apply_gradients, gradients, run_step
from kzoo.training.feed import joined
from kzoo.training.step_values import of_step
from kzoo.training.watched import Watch, bad_gradients


def steps_of(model) -> dict:
    """`train_step` and `test_step` of one compilation of a model, by name: those of its class, which may be a user's.

    New functions each time: jax takes equal methods of one model for the same program, so a model that is compiled with
    another loss would go on with the one before for as long as anything refers to it.
    """

    def bound(step):
        return lambda *arguments: step(model, *arguments)

    return {name: bound(getattr(type(model), name)) for name in ("train_step", "test_step")}


def check_overridden(model) -> None:
    """Methods of a subclass that no step of kzoo would call are refused by name."""
    for name in ("compute_loss", "compute_metrics"):
        own, step = getattr(type(model), name), type(model).train_step
        if own is not getattr(keras.Model, name) and step.__module__.startswith("kzoo."):
            raise TypeError(
                f"{type(model).__name__} has a {name} of its own, which a training of kzoo does not call; give compile "
                "a loss of kzoo.losses, or a subclass of one, or write train_step of the model, too."
            )


def train_step(model, *arguments) -> Any:
    """What `fit` and `train_on_batch` of a kzoo model do with a batch; arguments and result as Keras' own."""
    return run_step(model, arguments, partial(_trained, model))


def test_step(model, *arguments) -> Any:
    """What `evaluate` and `test_on_batch` of a kzoo model do with a batch."""
    return run_step(model, arguments, partial(_tested, model))


def predict_step(model, *arguments) -> Any:
    """What `predict` of a kzoo model does with a batch: the outputs that `model.predicted` names."""
    *state, data = arguments
    batch, _, _ = keras.utils.unpack_x_y_sample_weight(data)
    names = tuple(model.predicted(batch))
    if not state:
        if parts_read()[1] == 1:
            with vars(model).get("predict_blocks", nullcontext)():
                return forward(model, batch, names, training=False)[0]
        part = part_of(batch)  # every process gives all rows
        return part.gathered(forward(model, part.batch, names, training=False)[0], model.batch_axes)
    programs = vars(model).get("predict_programs") or partial(predicted, model)  # on jax
    return programs(state[0], batch)


def predicted(model, state, batch) -> tuple:
    """What `predict_step` gives on jax, of the values of all variables: outputs, and states as they are then."""
    groups = keras_contact.carried_variables(model, 2)
    pairs = [pair for group, values in zip(groups, state) for pair in zip(group, values, strict=True)]
    with keras.StatelessScope(pairs) as scope:
        outputs, _ = forward(model, batch, tuple(model.predicted(batch)), training=False)
    return whole(outputs), [scope.get_current_value(each) for each in model.non_trainable_variables]


def _trained(model, x, y, sample_weight):
    part, skips = part_of(joined(x, y, sample_weight)), model.non_finite == "skip"
    with own_draws(model), whole_statistics(model):
        losses = partial(losses_of, model, part, training=True)
        total, (values, layers), found = gradients(model, losses, model.gradients, whole=skips)
    more = of_step(model, found, model.similarity)
    applied = apply_gradients(model, found, total if skips else None)
    if model.teacher is not None:
        followed = [(each, ops.copy(each)) for each in model.teacher.variables] if skips else []
        model.teacher.update()
        for variable, value in followed:
            variable.assign(ops.where(applied, variable, value))
    weights = None if applied is None else bad_gradients(found)
    model.health.update(total, applied, layers, weights)
    return _logged(model, part, total, values, applied if skips else None) | more


def _tested(model, x, y, sample_weight):
    part = part_of(joined(x, y, sample_weight))
    losses, (values, _) = losses_of(model, part, training=False)
    return _logged(model, part, sum(losses), values)


def losses_of(model, part, training) -> tuple:
    """Weighted terms of the loss, whose sum is minimised, and the values that are logged with the flags of a `Watch`,
    where one looks: of the whole batch.

    Args:
        part: the rows of it that the model computes here, see `kzoo.scale.one_device.Part`.
    """
    objective, given, batch = model.objective, model.any_number(), part.batch
    if training and model.patches is not None:
        batch = batch | model.patches.of_batch(model, batch)
    read = objective.may_read(given)
    watch = Watch(model.watched) if training and model.micro_batch_size is None else None
    with watch.looking() if watch else nullcontext():
        outputs, added = forward(model, batch, model.reading(read, batch), training)
    if watch:
        model.health.called = watch.names
    head = tensors_of(model.similarity)
    tensors = batch | model.loss_tensors(outputs) | head
    if not tensors.keys() >= set(objective.reading(given)):
        objective.check_there({*tensors, *model.gives(batch)}, given)
    # only what is read: pictures and tokens of all devices would fit into the memory of none
    of_rows = {name: tensors[name] for name in read if name in tensors and name not in head}
    tensors = part.gathered(of_rows, model.batch_axes) | head
    with blocks_of(model.loss_block_size, model.few_rows):
        terms, values = objective.by_term(tensors, training, given)
        values = (*values, *(measure(tensors) for measure in model.measured(objective).values()))
    # a head that the loss does not read gets a gradient of zero, not none; regularisers of the towers, if any
    rest = [0.0 * sum(head.values())] * bool(head) + added
    return (sum([terms[0], *rest]), *terms[1:]), (values, watch.flags() if watch else None)


def _logged(model, part, total, values, counts=None):
    rows, whole = part.own, part.rows
    if counts is not None:  # a step that is left out is in no mean
        total, values = ops.where(counts, total, 0.0), [ops.where(counts, each, 0.0) for each in values]
        rows = ops.cast(rows, "int32") * ops.cast(counts, "int32")
    if model.objective.needs_two():  # a last batch of one row says nothing
        rows = rows * (ops.cast(whole > 1, "int32") if ops.is_tensor(whole) else whole > 1)
    keras_contact.track_loss(model, total, rows)
    model.means.update_state(values, rows=rows)
    return logged(model.get_metrics_result())
