"""The largest tensor that a computation makes on the way to its gradient, on any backend."""

import math

import keras


def largest_tensor(function, arrays):
    """Most elements of a tensor between `arrays` and the gradient of `function`, a scalar, for all of them."""
    return {"jax": _with_jax, "tensorflow": _with_tensorflow, "torch": _with_torch}[keras.config.backend()](
        function, arrays
    )


def _with_jax(function, arrays):
    import jax

    def sizes(jaxpr):
        for equation in jaxpr.eqns:
            yield from (math.prod(getattr(out.aval, "shape", ())) for out in equation.outvars)
            for inner in jax.tree.leaves(list(equation.params.values()), is_leaf=lambda leaf: hasattr(leaf, "eqns")):
                if hasattr(inner, "jaxpr"):
                    yield from sizes(inner.jaxpr)
                elif hasattr(inner, "eqns"):
                    yield from sizes(inner)

    gradient = jax.grad(function, argnums=tuple(range(len(arrays))))
    return max(sizes(jax.make_jaxpr(gradient)(*arrays).jaxpr))


def _with_tensorflow(function, arrays):
    import tensorflow as tf

    def gradient(*tensors):
        with tf.GradientTape() as tape:
            tape.watch(tensors)
            value = function(*tensors)
        return tape.gradient(value, tensors)

    graph = tf.function(gradient).get_concrete_function(*map(tf.constant, arrays)).graph
    graphs = [graph, *(each.graph for each in graph._functions.values())] if hasattr(graph, "_functions") else [graph]
    shapes = [output.shape for each in graphs for op in each.get_operations() for output in op.outputs]
    return max(math.prod(shape) for shape in shapes if shape.is_fully_defined())


def _with_torch(function, arrays):
    import torch
    from torch.utils._python_dispatch import TorchDispatchMode

    class Watch(TorchDispatchMode):
        largest = 0

        def __torch_dispatch__(self, operation, types, args=(), kwargs=None):
            results = operation(*args, **(kwargs or {}))
            for each in results if isinstance(results, (tuple, list)) else [results]:
                if isinstance(each, torch.Tensor):
                    self.largest = max(self.largest, each.numel())
            return results

    tensors = [torch.tensor(array, requires_grad=True) for array in arrays]
    with Watch() as watch:
        function(*tensors).backward()
    return watch.largest
