"""What lets one train step be written once: the same text with variables that change, on the three backends.

A step reads and assigns variables as plain code does. On jax, where a compiled step may change none, it runs in a
`keras.StatelessScope`, whose values Keras' loop carries from step to step.
"""

from contextlib import contextmanager
from typing import Any

import keras
import numpy as np
from keras import ops

from kzoo.keras_contact import carried_variables, summed_before
from kzoo.scale.engine import averaged, count, shared
from kzoo.training.gradients import GradientSum
from kzoo.training.watched import all_finite


def run_step(model, arguments, step) -> Any:
    """Run a train or test step as the loop of this backend calls it.

    Args:
        model: a built `keras.Model`; to train, its optimizer is built too, as `fit` does.
        arguments: of `train_step` or `test_step`: `(data,)`, on jax `(state, data)`.
        step: `step(x, y, sample_weight)` -> logs, called with tensors; it may read and assign the variables of the
            model, its metrics and, in training, its optimizer.

    Returns:
        what Keras expects of its step.

    Example:
        >>> def train_step(self, *arguments):
        ...     return run_step(self, arguments, partial(training_step, self))
    """
    *state, data = arguments
    data = keras.tree.map_structure(_tensor, keras.utils.unpack_x_y_sample_weight(data))
    if not state:
        with _after(data):
            return step(*data)
    groups = carried_variables(model, len(state[0]))
    pairs = [pair for group, values in zip(groups, state[0], strict=True) for pair in zip(group, values, strict=True)]
    with keras.StatelessScope(pairs, collect_losses=True) as scope:
        logs = step(*data)
    return logs, tuple([scope.get_current_value(each) for each in group] for group in groups)


@contextmanager
def _after(data):
    """What a step does, it does once its batch is there.

    TensorFlow finds the end of data of unknown length by a step that has none; meanwhile it would already count that
    step, let weights decay and draw the next seeds, none of which need the batch.
    """
    if keras.config.backend() != "tensorflow":
        yield
        return
    import tensorflow as tf

    with tf.control_dependencies([each for each in keras.tree.flatten(data) if each is not None]):
        yield


def gradients(model, forward, policy=None, whole=False) -> tuple:
    """Losses of a model and what its trainable variables get of them; called within `run_step`.

    Args:
        model: whose `trainable_variables` are asked for; its optimizer scales the losses, as mixed precision wants it.
        forward: `forward()` -> `(losses, results)`: a tuple of float32 scalars, whose sum is minimised, and any nested
            structure of tensors. `model.losses` can be read in it.
        policy: a `GradientPolicy`; None for the gradient of the sum, in one pass. Where it needs several, each starts
            from the same state, with the same dropout; what the first changes (queues, statistics, metrics) is kept,
            the rest is dropped. Under a `LossScaleOptimizer` all gradients carry the same factor. They are dense where
            the policy asks for terms or passes, zeros where a loss does not depend on a weight.
        whole: whether a step whose loss or a gradient is not finite shall change nothing: queues, statistics and seeds
            stay as they were; the gradients are for `apply_gradients` to leave out.

    Returns:
        `(total, results, gradients)`: the sum of the losses, not scaled; the results, without a gradient; and a list
        for `apply_gradients`.

    Example:
        >>> def forward():
        ...     loss = keras.ops.mean(keras.ops.square(model(x, training=True) - y))
        ...     return (loss,), {}
        >>> total, _, found = gradients(model, forward)
    """
    policy = policy or GradientSum()
    backend, trained = keras.config.backend(), model.trainable_variables
    others = [*model.non_trainable_variables, *model.metrics_variables, *model.optimizer.variables]
    by_values = backend == "jax" or (backend == "tensorflow" and (policy.several_passes or whole))
    # read once: of two reads of a variable TensorFlow's optimizer of graphs may let one be as late as its assignment
    values = [ops.stop_gradient(ops.convert_to_tensor(each)) for each in trained] if by_values else []
    before = [ops.convert_to_tensor(each) for each in others] if by_values else others  # which torch puts back
    as_before = [(each, _copied(each)) for each in model.non_trainable_variables] if whole and not by_values else []
    passes = []  # of each: total and results, and, where it changed no variable, what it would have changed

    def evaluated():
        losses, results = forward()
        total = sum(losses)
        scaled = [model.optimizer.scale_loss(shared(each)) for each in (losses if policy.by_term else (total,))]
        return scaled, (total, results)

    def evaluated_at(moved):
        with keras.StatelessScope([*zip(trained, moved), *zip(others, before)], collect_losses=True) as scope:
            start = [scope.get_current_value(each) for each in others]
            scaled, given = evaluated()
        after = [scope.get_current_value(each) for each in others]
        return scaled, (given, [None if new is old else new for old, new in zip(start, after)])

    def compute(offsets=None):
        if by_values:
            differentiate = _with_jax if backend == "jax" else _with_tensorflow
            moved = (
                values if offsets is None else [each + ops.cast(by, each.dtype) for each, by in zip(values, offsets)]
            )
            found, made = differentiate(evaluated_at, moved, policy.by_term)
            passes.append(made)
        elif policy.several_passes:
            with _put_back([*trained, *others]):
                for variable, offset in zip(trained, offsets or []):
                    variable.assign(variable + offset)
                found, given = _of_torch_variables(model, evaluated, policy.by_term)
                passes.append((given, [_copied(each) for each in others]))
        else:
            differentiate = _of_torch_variables if backend == "torch" else _of_tensorflow_variables
            found, given = differentiate(model, evaluated, policy.by_term)
            passes.append((given, []))
        found = [averaged(each) for each in found]
        if policy.by_term or policy.several_passes:
            found = [[_dense(each, like) for each, like in zip(own, trained)] for own in found]
        return found if policy.by_term else found[0]

    if not trained:
        (total, results), found = evaluated()[1], []
        return total, results, found
    found = policy.apply(compute, model) if policy.reads_model else policy.apply(compute)
    (total, results), changes = passes[0]
    well = all_finite([total, *found]) if whole else None
    for place, (variable, new) in enumerate(zip(others, changes)):
        if new is not None:
            variable.assign(new if well is None else ops.where(well, new, before[place]))
    if as_before and not well:  # on torch
        for variable, value in as_before:
            variable.assign(value)
    return total, results, found


def apply_gradients(model, found, total=None) -> Any:
    """One step of the model's optimizer with what `gradients` gave; called within `run_step`.

    Args:
        total: the sum of the losses, where a step is left out whose loss or a gradient is not finite.

    Returns:
        whether the optimizer has taken the step, a bool scalar; None where it always does. A `LossScaleOptimizer` takes
        none with gradients that are not finite.
    """
    trained, optimizer = model.trainable_variables, model.optimizer
    if not trained:
        return None
    scaled = isinstance(optimizer, keras.optimizers.LossScaleOptimizer)
    if total is None or scaled:
        _apply(optimizer, found, trained)
        return all_finite(found) if scaled else None
    well = all_finite([total, *found])
    if keras.config.backend() == "jax":
        variables = [*trained, *optimizer.variables]
        before = [each.value for each in variables]
        _apply(optimizer, found, trained)
        for variable, value in zip(variables, before):
            variable.assign(ops.where(well, variable.value, value))
    elif keras.config.backend() == "torch":
        if well:
            _apply(optimizer, found, trained)
    else:
        _apply_where(well, optimizer, found, trained)
    return well


def _apply_where(well, optimizer, found, trained):
    """On TensorFlow, where optimizers bring replicas together, which no branch that a replica takes for itself may."""
    import tensorflow as tf

    def branch(well, apply):
        tf.cond(well, lambda: apply() or 0, lambda: 0)

    def together(strategy, well, found):
        def of_each(found):
            _apply(optimizer, found, trained)

        first = strategy.experimental_local_results(well)[0]  # all have the loss and the gradients of the whole batch
        branch(first, lambda: strategy.extended.call_for_each_replica(of_each, args=(found,)))

    if count() == 1:
        branch(well, lambda: _apply(optimizer, found, trained))
    else:
        tf.distribute.get_replica_context().merge_call(together, args=(well, found))


def _apply(optimizer, found, trained):
    if keras.config.backend() == "jax":  # where a LossScaleOptimizer branches, only this way lets no tracer out
        state = [each.value for each in optimizer.variables]
        new, new_state = optimizer.stateless_apply(state, found, [each.value for each in trained])
        for variable, value in zip([*trained, *optimizer.variables], [*new, *new_state], strict=True):
            variable.assign(value)
    elif keras.config.backend() == "torch":
        import torch

        with torch.no_grad():
            optimizer.apply(found, trained)
    else:
        with summed_before(optimizer):
            optimizer.apply_gradients(zip(found, trained))


def _tensor(each):
    return ops.convert_to_tensor(each) if isinstance(each, np.ndarray) else each  # as torch's `train_on_batch` hands it


def _copied(variable):
    return ops.stop_gradient(ops.copy(variable))


@contextmanager
def _put_back(variables):
    """Afterwards the variables have the values that they had before."""
    before = [_copied(each) for each in variables]
    try:
        yield
    finally:
        for variable, value in zip(variables, before):
            variable.assign(value)


def _dense(gradient, variable):
    return ops.zeros(variable.shape, variable.dtype) if gradient is None else ops.convert_to_tensor(gradient)


# -- gradients by tensors that stand for the weights: `evaluate(values)` -> `(losses, kept)` --
def _with_jax(evaluate, values, by_term):
    import jax

    losses, pull, kept = jax.vjp(evaluate, values, has_aux=True)
    unit = [
        [jax.numpy.full_like(each, row == column) for column, each in enumerate(losses)] for row in range(len(losses))
    ]
    return [pull(each)[0] for each in unit], kept


def _with_tensorflow(evaluate, values, by_term):
    import tensorflow as tf

    with tf.GradientTape(persistent=by_term) as tape:
        tape.watch(values)
        losses, kept = evaluate(values)
    return [tape.gradient(each, values) for each in losses], kept


# -- gradients by the variables themselves, as Keras asks for them: `evaluate()` -> `(losses, kept)` --
def _of_tensorflow_variables(model, evaluate, by_term):
    import tensorflow as tf

    with tf.GradientTape(persistent=by_term) as tape:
        losses, kept = evaluate()
    return [tape.gradient(each, model.trainable_variables) for each in losses], kept


def _of_torch_variables(model, evaluate, by_term):
    import torch

    losses, kept = evaluate()
    values = [each.value for each in model.trainable_variables]
    if not by_term:
        for each in values:
            each.grad = None
        losses[0].backward()  # into `.grad`: torch's own engine for several devices listens there
        return [[each.grad for each in values]], _detached(kept)
    nothing = [None] * len(values)
    found = [
        torch.autograd.grad(each, values, retain_graph=True, allow_unused=True) if each.requires_grad else nothing
        for each in losses
    ]
    return found, _detached(kept)


def _detached(kept):
    return keras.tree.map_structure(lambda each: each.detach() if ops.is_tensor(each) else each, kept)
