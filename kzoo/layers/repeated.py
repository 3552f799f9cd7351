"""Blocks that are alike as one program, which gets the weights of each: traced and compiled once for a whole tower."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import keras
from keras import ops

from kzoo.keras_contact import likeness
from kzoo.types import Tensor

_PROGRAMS: ContextVar = ContextVar("programs of blocks", default=None)  # those of the `one_program_each` around a call


class BlockPrograms:
    """Programs of blocks, one for those that are alike.

    Args:
        compiled: function of a function of `(values of variables, list of tensors)`, to the same one compiled.
    """

    def __init__(self, compiled):
        self.compiled, self.programs = compiled, {}

    def __call__(self, block, call, arguments) -> Tensor:
        """What `call` makes of the arguments, a tuple of positional ones and a dict of others, by a program of all
        blocks that are alike; without one where an argument is not known to be a tensor or the same for all."""
        leaves = keras.tree.flatten(arguments)
        tensors = [each for each in leaves if ops.is_tensor(each)]
        rest = tuple("tensor" if ops.is_tensor(each) else each for each in leaves)
        if not all(isinstance(each, (type(None), bool, int, float, str)) for each in rest):
            return call(*arguments[0], **arguments[1])
        key = likeness(block), rest, str(keras.tree.map_structure(lambda each: None, arguments))
        if key not in self.programs:
            self.programs[key] = self.compiled(_of_values(block.variables, call, arguments, rest))
        return self.programs[key]([each.value for each in block.variables], tensors)


def _of_values(variables, call, arguments, rest):
    # of the arguments nothing but their nesting is kept: tensors of a trace would outlive it
    nesting = keras.tree.map_structure(lambda each: None, arguments)

    def block(values, tensors):
        left, token = iter(tensors), _PROGRAMS.set(None)
        leaves = [next(left) if each == "tensor" else each for each in rest]
        given, named = keras.tree.pack_sequence_as(nesting, leaves)
        try:
            with keras.StatelessScope(list(zip(variables, values))):
                return call(*given, **named)
        finally:
            _PROGRAMS.reset(token)

    return block


@contextmanager
def one_program_each(programs) -> Iterator:
    """Within it each `Repeated` layer that is not being trained runs as one of `programs`."""
    token = _PROGRAMS.set(programs)
    try:
        yield
    finally:
        _PROGRAMS.reset(token)


class Repeated:
    """Mixin of a block of which a tower has many: `one_program_each` has one program for those that are alike.

    A block has no state that a call in inference would move, and adds no losses there.
    """

    def __call__(self, *args, **kwargs) -> Any:
        programs: Callable | None = _PROGRAMS.get()
        if programs is None or kwargs.get("training"):
            return super().__call__(*args, **kwargs)
        return programs(self, super().__call__, (args, kwargs))
