"""Tensors that a block function uses without being passed them, made its arguments: what TensorFlow needs."""

import types
from collections.abc import Callable
from typing import Any

import keras

FROM = "captured "  # begins the names that captured tensors get among the columns


def captures_passed(function, rows, columns, size) -> tuple:
    """A block function and its columns, in which every float that it captured is a column too.

    TensorFlow recomputes a block with the gradient of its arguments alone: what the function captured would get none,
    silently. JAX and torch see captured tensors by themselves, and change nothing here.

    Args:
        function: `(i, real, rows, columns)`, as `by_blocks` takes it.
        rows, columns: dicts of tensors.
        size: rows of a block.

    Returns:
        `(function, columns)`.

    Raises:
        ValueError: a captured tensor that no closure holds, such as an attribute of an object.
    """
    if keras.config.backend() != "tensorflow":
        return function, columns
    tensors, variables = _captured(function, rows, columns, size)
    if not tensors and not variables:
        return function, columns
    held = [*tensors, *(keras.ops.convert_to_tensor(each.value) for each in variables)]
    names = [f"{FROM}{place}" for place in range(len(held))]

    def passed(i, real, rows, columns):
        given = [columns[name] for name in names]
        own = {name: value for name, value in columns.items() if name not in names}
        inside = _Rebuilt({id(old): new for old, new in zip(tensors, given)}).function(function)
        with keras.StatelessScope(state_mapping=[*zip(variables, given[len(tensors) :])]):
            return inside(i, real, rows, own)

    columns = columns | dict(zip(names, held))
    left = [each for each in _captured(passed, rows, columns, size)[0] if any(each is old for old in tensors)]
    if left:
        raise ValueError(
            f"a block function uses a tensor of shape {tuple(left[0].shape)} that it was not passed, whose gradient "
            "TensorFlow would lose; put it into `rows` or `columns`."
        )
    return passed, columns


class _Reads(keras.StatelessScope):
    """Remembers which trained variables are read."""

    def __init__(self):
        super().__init__()
        self.variables = {}

    def get_current_value(self, variable) -> Any:
        if variable.trainable:
            self.variables[id(variable)] = variable
        return super().get_current_value(variable)


def _captured(function, rows, columns, size):
    """Float tensors and trained variables that a function uses without being passed them."""
    import tensorflow as tf

    def spec(value, first):
        return tf.TensorSpec((*first, *value.shape[len(first) :]), value.dtype)

    reads = _Reads()

    @tf.function(autograph=False)
    def traced(i, rows, columns):
        with reads:
            return function(i, i < size, rows, columns)

    concrete = traced.get_concrete_function(
        tf.TensorSpec((size,), "int32"),
        {name: spec(value, (size,)) for name, value in rows.items()},
        {name: spec(value, ()) for name, value in columns.items()},
    )
    return [each for each in concrete.captured_inputs if each.dtype.is_floating], list(reads.variables.values())


class _Rebuilt:
    """Functions whose closures hold other tensors.

    Args:
        tensors: id of a tensor -> what stands in its place.
    """

    def __init__(self, tensors):
        self.tensors, self.done = tensors, {}

    def function(self, function) -> Callable:
        """The function with a closure of its own, in which functions of functions are rebuilt too."""
        if not isinstance(function, types.FunctionType) or not function.__closure__:
            return function
        if id(function) not in self.done:
            cells = tuple(types.CellType() for _ in function.__closure__)
            new = types.FunctionType(
                function.__code__, function.__globals__, function.__name__, function.__defaults__, cells
            )
            new.__kwdefaults__ = function.__kwdefaults__
            self.done[id(function)] = new  # before its cells, which may hold the function itself
            for cell, old in zip(cells, function.__closure__):
                cell.cell_contents = self.value(old.cell_contents)
        return self.done[id(function)]

    def value(self, held) -> Any:
        """What stands in place of the contents of a closure."""
        if id(held) in self.tensors:
            return self.tensors[id(held)]
        if type(held) in (list, tuple):
            return type(held)(self.value(each) for each in held)
        if type(held) is dict:
            return {key: self.value(each) for key, each in held.items()}
        return self.function(held)
