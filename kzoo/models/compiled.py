"""A function of a model's layers, compiled by the backend and kept: for the steps between `fit` and `predict`."""

from collections import OrderedDict
from collections.abc import Callable
from functools import wraps

import keras


def compiled(layer, function) -> Callable:
    """A function of arrays that calls `layer` or parts of it, as the backend runs it fastest, without gradients.

    Compiled once per shape on jax and TensorFlow. The layer's current weights are read at every call, so training
    in between is seen.

    Args:
        layer: whose variables the function reads, itself or its sub-layers.
        function: of positional tensors, in nested lists, tuples and dicts as may be, to tensors, likewise; dicts keep
            the order that it gives them.

    Returns:
        A function of numpy arrays or tensors to tensors.

    Example:
        >>> tokens = compiled(model, lambda images: model.image_encoder(images, training=False)["tokens"])
        >>> tokens(pixels).shape
        (2, 17, 48)
    """
    return {"jax": _with_jax, "tensorflow": _with_tensorflow, "torch": _with_torch}[keras.config.backend()](
        layer, function
    )


def held(function) -> Callable:
    """A compiled function for calls between which no weight changes: on jax to gather these takes as long as a step.

    Args:
        function: as `compiled` gives it.
    """
    return getattr(function, "with_weights_of_now", lambda: function)()


def _with_jax(layer, function):
    import jax

    @jax.jit
    def stateless(values, arguments):
        with keras.StatelessScope(state_mapping=list(zip(layer.variables, values))):
            return _with_dicts(OrderedDict, function(*arguments))

    def with_weights_of_now():
        values = [each.value for each in layer.variables]
        return lambda *arguments: _with_dicts(dict, stateless(values, arguments))

    @wraps(function)
    def with_weights(*arguments):
        return with_weights_of_now()(*arguments)

    with_weights.with_weights_of_now = with_weights_of_now
    return with_weights


def _with_dicts(kind, tree):
    """A tree whose dicts are of `kind`: jax gives those back sorted by name, but for ordered ones."""
    if isinstance(tree, dict):
        return kind((name, _with_dicts(kind, each)) for name, each in tree.items())
    if type(tree) in (list, tuple):
        return type(tree)(_with_dicts(kind, each) for each in tree)
    return tree


def _with_tensorflow(layer, function):
    import tensorflow as tf

    traced = tf.function(function, reduce_retracing=True)
    # not itself: what is a tf.function and an attribute of a model goes into its SavedModel
    return wraps(function)(lambda *arguments: traced(*arguments))


def _with_torch(layer, function):
    import torch

    @wraps(function)
    def without_gradients(*arguments):
        arguments = keras.tree.map_structure(keras.ops.convert_to_tensor, arguments)
        with torch.no_grad():
            return function(*arguments)

    return without_gradients
