"""A function whose gradient is written out, or which runs again for it."""

from collections.abc import Callable
from threading import Lock

import keras
from keras import ops

NAME = "kzoo_own_gradient"  # the one that TensorFlow knows
FUNCTIONS = "kzoo_functions"  # attribute of a graph: what was traced in it before
KEPT = "kzoo_own_gradients"  # attribute of a graph: name of an operation -> what computes its gradient
_REGISTERED, _REGISTERING = [], Lock()  # a second time would be an error, and threads trace beside each other


def own_gradient(function) -> Callable:
    """`keras.ops.custom_gradient`, through which derivatives of every kind go: forwards, twice, of many rows at a time.
    On TensorFlow nothing stays of it once the graph is gone that it was used in.

    `tf.custom_gradient` registers one more gradient at every use in a graph, for as long as the process lives, and each
    of them holds the graph and with it the model. Here one is registered, and what it calls lives on the graph.

    Args:
        function: of float tensors, to `(outputs, gradients)`: a tensor or a tuple of them, and a function of their
            upstream gradients to those of the tensors.

    Example:
        >>> own_gradient(lambda x: (ops.square(x), lambda upstream: 2.0 * x * upstream))(3.0)
        9.0
    """
    if keras.config.backend() != "tensorflow":
        if keras.config.backend() == "torch":
            from kzoo.layers import own_gradient_torch as written
        else:
            from kzoo.layers import own_gradient_jax as written
        return lambda *inputs: written.own_gradient(function, [*map(ops.convert_to_tensor, inputs)])
    import tensorflow as tf

    def called(*inputs):
        inputs = [tf.convert_to_tensor(each) for each in inputs]
        if tf.executing_eagerly():  # where nothing is registered
            return tf.custom_gradient(function)(*inputs)

        def named(*inputs):
            inputs = [*map(tf.identity, inputs)]
            outputs, gradients = function(*inputs)
            found = tf.nest.flatten(outputs)
            graph = tf.compat.v1.get_default_graph()
            with graph.gradient_override_map({"IdentityN": _registered()}):
                marked = tf.identity_n([*found, *inputs])
            _of_graph(graph, KEPT)[marked[0].op.name] = len(found), gradients
            return tf.nest.pack_sequence_as(outputs, marked[: len(found)])

        # a tape asks a function for the gradient of its graph, and there the name is heeded; one for all that is alike
        traced = _of_graph(tf.compat.v1.get_default_graph(), FUNCTIONS)
        key = function, *((each.dtype, str(each.shape)) for each in inputs)
        if key not in traced:
            traced[key] = tf.function(named, autograph=False)
        return traced[key](*inputs)

    return called


def _of_graph(graph, name):
    if not hasattr(graph, name):
        setattr(graph, name, {})
    return getattr(graph, name)


def recomputed(function) -> Callable:
    """`keras.remat`, of which nothing stays on TensorFlow either: what a function holds is made again for its gradient.

    Args:
        function: of float tensors, to a tuple of them. What it captures gets no gradient on TensorFlow.

    Example:
        >>> recomputed(lambda x: (ops.exp(ops.sin(x)),))(0.0)
        (1.0,)
    """
    if keras.config.backend() != "tensorflow":
        return keras.remat(function)
    import tensorflow as tf

    @own_gradient
    def run(*inputs):
        def gradients(*upstream):
            with tf.control_dependencies(upstream), tf.GradientTape() as tape:  # not before they are there
                again = [*map(tf.identity, inputs)]
                tape.watch(again)
                outputs = function(*again)
            return tape.gradient(outputs, again, output_gradients=upstream)

        return function(*inputs), gradients

    return run


def _registered():
    import tensorflow as tf

    def gradients(operation, *upstream):
        if operation is None:  # as a SavedModel traces what it knows by name alone
            raise NotImplementedError(
                "a gradient that kzoo has written out is not saved with a graph; save it with "
                "tf.saved_model.SaveOptions(experimental_custom_gradients=False), without its gradients."
            )
        count, of_inputs = getattr(operation.graph, KEPT)[operation.name]
        return [None] * count + tf.nest.flatten(of_inputs(*upstream[:count]))

    with _REGISTERING:
        if not _REGISTERED:
            tf.RegisterGradient(NAME)(gradients)
            _REGISTERED.append(NAME)
    return NAME
