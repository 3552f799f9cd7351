"""The contact with Keras below its documented surface: what goes past its tracking, and every private name of it.

No other file of kzoo does either, and `tests/test_keras_contact.py` names each private name that is used here, so that
a release of Keras without it is found by that name, not by a model that trains differently.
"""

from contextlib import contextmanager

import keras


def untracked(owner, name, value):
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


def attach(model, **parts):
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


def sync_state(model):
    """Write the values that a running `fit` holds on jax into the variables of the model; elsewhere they are there.

    Within an epoch Keras' loop on jax carries all state by itself. A callback that reads or sets a variable asks for
    this first.

    Example:
        >>> sync_state(self.model)
        >>> self.model.optimizer.learning_rate = 1e-4
    """
    if keras.config.backend() == "jax":
        model.jax_state_sync()


def track_loss(model, loss, rows):
    """Let a loss join the running mean that Keras logs as `loss`, weighted by the rows of its batch."""
    model._loss_tracker.update_state(loss, sample_weight=rows)


def value_within_fit(model, variable):
    """The value that a variable of a metric has after the last step, also while `fit` holds it on jax: a tensor.

    To read it waits for that step. On jax it writes nothing into the model, which `sync_state` does, at a cost that
    grows with the model.
    """
    if keras.config.backend() == "jax" and not model._jax_state_synced and model._jax_state:
        for own, value in zip(model.metrics_variables, model._jax_state["metrics_variables"]):
            if own is variable:
                return value
    return variable.value


def called_by_compiled_loss(loss):
    """Whether a layer is being called by `keras.Model.compile(loss=layer)`, as the function of targets and predictions.

    Keras makes a loss of any callable there, which bears its name, in a scope of the compiled loss.

    Example:
        >>> called_by_compiled_loss(InfoNCE())
        False
    """
    from keras.src.backend.common.name_scope import current_path

    return current_path().split("/")[-2:] == ["compile_loss", loss.name]


@contextmanager
def weights_kept(model):
    yield
