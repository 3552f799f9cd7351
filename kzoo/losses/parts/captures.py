"""Tensors that a block function uses without being passed them, made its arguments: what TensorFlow and torch need."""

import types
from collections.abc import Callable
from typing import Any

import keras

FROM = "captured "  # begins the names that captured tensors get among the columns


def captures_passed(function, rows, columns, size) -> tuple:
    """A block function and its columns, in which every float that it captured is a column too.

    A block is computed again with the gradient of its arguments alone: what the function captured would get none,
    silently. JAX sees captured tensors by itself, and changes nothing here.

    Args:
        function: `(i, real, rows, columns)`, as `by_blocks` takes it.
        rows, columns: dicts of tensors.
        size: rows of a block.

    Returns:
        `(function, columns, complete)`: whether the function uses nothing else that is trained; on torch, where that
        is not refused, it may.

    Raises:
        ValueError: on TensorFlow, a captured tensor that no closure holds, such as an attribute of an object.
    """
    backend = keras.config.backend()
    captured = {"tensorflow": _captured, "torch": _captured_on_torch}.get(backend)
    tensors, variables = captured(function, rows, columns, size) if captured else ((), ())
    if not tensors and not variables:
        return function, columns, backend != "torch" or not _uses_more(function, rows, columns)
    held = [*tensors, *(keras.ops.convert_to_tensor(each.value) for each in variables)]
    names = [f"{FROM}{place}" for place in range(len(held))]

    def passed(i, real, rows, columns):
        given = [columns[name] for name in names]
        own = {name: value for name, value in columns.items() if name not in names}
        inside = _Rebuilt({id(old): new for old, new in zip(tensors, given)}).function(function)
        with keras.StatelessScope(state_mapping=[*zip(variables, given[len(tensors) :])]):
            return inside(i, real, rows, own)

    columns = columns | dict(zip(names, held))
    if backend == "torch":
        return passed, columns, not _uses_more(passed, rows, columns)
    left = [each for each in _captured(passed, rows, columns, size)[0] if any(each is old for old in tensors)]
    if left:
        raise ValueError(
            f"a block function uses a tensor of shape {tuple(left[0].shape)} that it was not passed, whose gradient "
            "TensorFlow would lose; put it into `rows` or `columns`."
        )
    return passed, columns, True


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


def _captured_on_torch(function, rows, columns, _):
    """The same of torch, as far as closures hold them."""
    import torch

    if not torch.is_grad_enabled():
        return [], []
    reads = _Reads()
    with reads, torch.no_grad():
        _of_first_rows(function, rows, columns)
    own = {id(each) for each in (*rows.values(), *columns.values())}
    tensors = {id(each): each for each in _held(function, set()) if each.requires_grad and id(each) not in own}
    return list(tensors.values()), list(reads.variables.values())


def _uses_more(function, rows, columns):
    """Whether on torch a function of what needs no gradient gives what has one."""
    import torch

    rows, columns = ({name: each.detach() for name, each in side.items()} for side in (rows, columns))
    results = _of_first_rows(function, rows, columns)
    return torch.is_grad_enabled() and any(each.requires_grad for part in results for each in part.values())


def _of_first_rows(function, rows, columns):
    first = {name: each[:2] for name, each in rows.items()}
    i = keras.ops.arange(len(next(iter(first.values()))), dtype="int32")
    return function(i, i >= 0, first, columns)


def _held(value, seen):
    """Tensors of torch in a closure, a list or a dict, and in those of functions that it holds."""
    if id(value) in seen:
        return
    seen.add(id(value))
    if keras.ops.is_tensor(value):
        yield value
    elif isinstance(value, types.FunctionType):
        for cell in value.__closure__ or ():
            yield from _held(cell.cell_contents, seen)
    elif type(value) in (list, tuple, dict):
        for each in value.values() if type(value) is dict else value:
            yield from _held(each, seen)


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
