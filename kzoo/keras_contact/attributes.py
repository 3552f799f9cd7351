"""What goes past the tracking of Keras, and the parts of its models and optimizers."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar
from functools import wraps
from typing import Any

import keras

_unsearched = ContextVar("memory_unsearched", default=False)  # in this thread alone


def untracked(owner, name, value) -> None:
    """Set an attribute that Keras neither tracks nor wraps nor, on a built model, refuses.

    For what belongs to somebody else (a teacher's students) or is no layer, variable or metric: Keras would save it
    twice, count it twice, or turn a dict into one of its own.

    Args:
        owner: a Keras layer, model or any other object.
        name: of the attribute.
        value: kept as it is.

    Example:
        >>> untracked(model, "layout", {"text_encoder": "fused"})
    """
    object.__setattr__(owner, name, value)


@contextmanager
def replaced(name, values) -> Iterator:
    """Within it objects have an attribute of their own in place of that of their class, set as `untracked` does.

    Args:
        name: of the attribute.
        values: list of `(object, value)`.

    Example:
        >>> with replaced("finalize_variable_values", [(optimizer, lambda variables: None)]):
        ...     model.fit(data)
    """
    for owner, value in values:
        untracked(owner, name, value)
    try:
        yield
    finally:
        for owner, _ in values:
            vars(owner).pop(name, None)  # another replica of TensorFlow may have done it


def attach(model, **parts) -> None:
    """Make layers and metrics parts of a built model, in place of those that were attached under the same names.

    Keras locks the attributes of a built model, but a loss comes and goes with `compile`. What was there before is
    neither trained nor saved nor reset from here on.

    Args:
        model: a `keras.Model`.
        **parts: layers, metrics or None, by the name of the attribute.

    Example:
        >>> attach(model, objective=InfoNCE(), means=NamedMeans(["info_nce"]))
    """
    model._tracker.unlock()
    try:
        for name, part in parts.items():
            if hasattr(model, name):
                model._tracker.untrack(getattr(model, name))
            setattr(model, name, part)
    finally:
        model._tracker.lock()
    if keras.config.backend() == "torch":
        model._track_variables()  # else zero_grad() misses the objective, whose gradients would pile up


def layers_within(layer) -> list:
    """A layer and all layers within it, in the order in which Keras finds them: the same for the same config."""
    return list(layer._flatten_layers())


@contextmanager
def memory_unsearched() -> Iterator:
    """Around the quantisation of layers, each of which has Keras search all memory for garbage: a second per layer
    where large libraries are loaded. The weights that it takes away go by themselves, as nothing else has them."""
    token = _unsearched.set(True)
    try:
        yield
    finally:
        _unsearched.reset(token)


def _spared(delete):
    @wraps(delete)
    def deleted(layer, name):
        if _unsearched.get() and isinstance(getattr(layer, name), keras.Variable):
            layer._untrack_variable(getattr(layer, name))
            super(keras.Layer, layer).__delattr__(name)
        else:
            delete(layer, name)

    return deleted


keras.Layer.__delattr__ = _spared(keras.Layer.__delattr__)


@contextmanager
def shapes_shown(shapes) -> Iterator:
    """Within it Keras' summary shows shapes of layers that nobody called with tensors of its own, which it needs.

    Args:
        shapes: list of `(layer, shape)`, or name -> shape in place of that.
    """
    kept = [(layer, layer._build_shapes_dict) for layer, _ in shapes]
    for layer, shape in shapes:
        untracked(layer, "_build_shapes_dict", {"shape": shape})
        untracked(layer, "compute_output_shape", lambda shape: shape)
    try:
        yield
    finally:
        for layer, known in kept:
            untracked(layer, "_build_shapes_dict", known)
            vars(layer).pop("compute_output_shape", None)


def unscaled(optimizer) -> Any:
    """An optimizer without the `LossScaleOptimizer` that mixed precision puts around it."""
    return optimizer.inner_optimizer if isinstance(optimizer, keras.optimizers.LossScaleOptimizer) else optimizer


def optimized(model) -> list | None:
    """The variables that the optimizer of a model was made for; None where it was not made for any yet."""
    optimizer = unscaled(model.optimizer)
    return list(optimizer._trainable_variables) if optimizer.built else None


def summed_before(optimizer) -> AbstractContextManager:
    """Within it an optimizer of TensorFlow takes gradients for those of all replicas, which it would sum again."""
    return replaced("_all_reduce_sum_gradients", [(unscaled(optimizer), list)])


def batch_norms(model) -> list:
    """The batch norms of a model that take statistics of their batch in training, but for those within its loss."""
    of_loss = {id(each) for each in layers_within(model.objective)}
    norms = [each for each in layers_within(model) if isinstance(each, keras.layers.BatchNormalization)]
    return [each for each in norms if each.trainable and id(each) not in of_loss]


class OwnMoments:
    """Mixin of a batch norm whose mean and variance are, without a mask, those of its `moments(x, axes)`; None leaves
    them to Keras."""

    def _moments(self, inputs, mask) -> tuple:
        found = None if mask is not None else self.moments(inputs, tuple(self._reduction_axes))
        return super()._moments(inputs, mask) if found is None else found


def moments_taken(norms, moments) -> AbstractContextManager:
    """Within it batch norms take mean and variance from a function.

    Args:
        norms: list of `keras.layers.BatchNormalization`.
        moments: function of a tensor, the axes that are averaged over, and a mask or None, to two tensors.
    """

    def taken(axes):
        return lambda x, mask: moments(x, axes, mask)

    return replaced("_moments", [(each, taken(tuple(each._reduction_axes))) for each in norms])
