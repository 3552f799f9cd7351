"""The contact with Keras below its documented surface: what goes past its tracking, and every private name of it.

No other file of kzoo does either, and `tests/test_keras_contact.py` names each private name that is used here, so that
a release of Keras without it is found by that name, not by a model that trains differently.
"""

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
