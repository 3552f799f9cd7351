"""Layers whose variables get their values after all of them are built, by the way in which Keras itself builds a layer
that it first asks for its shapes."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import wraps
from typing import Any

import keras
from keras.src.backend.common import KerasVariable, global_state, stateless_scope

from kzoo.keras_contact.adapted import found_anew
from kzoo.keras_contact.attributes import layers_within

NOTED = "uninitialized_variables"  # by thread


def can_be_given_later() -> bool:
    """Whether variables that are made here may get their values later: not within a scope of another."""
    return not stateless_scope.in_stateless_scope() and not keras.config.is_nnx_enabled()


def initializer_of(variable) -> Any:
    """The function that makes the value of a variable which has none yet."""
    return variable._initializer


class Unfilled:
    """What a function builds, with variables that have names and shapes, and no values yet.

    Args:
        build: function that gives a layer.
        *args: what it is called with.
        told: function that is called with each variable as it is made, None for nothing.

    Attributes:
        built: what it has given.
        variables: those without values, in the order in which they were made.
        scope: which keeps what is assigned to them.

    Example:
        >>> unfilled = Unfilled(build, row)
        >>> with unfilled.filling() as model:
        ...     load_tensors(entries, model, tensors, {})
    """

    def __init__(self, build, *args, told=None):
        self.scope, self.variables, self.told = keras.StatelessScope(initialize_variables=False), [], told
        with self.noting():
            self.built = build(*args)

    @contextmanager
    def filling(self) -> Iterator:
        """Inside, what is assigned to a variable is kept for it; at the end it becomes its value, without a copy. What
        is assigned nothing gets the value of its initializer. Where something stops inside, none gets any. Variables
        may be made inside, too.

        Yields:
            what was built.
        """
        with _outside_scopes():  # of another, which would keep the values for itself
            with self.noting():
                yield self.built
            self.fill()

    def fill(self) -> None:
        """Give each variable its value."""
        while self.variables:  # one by one: what nobody else has any longer takes no memory
            _give(self.variables.pop(0), self.scope)
        within = layers_within(self.built)
        found_anew([each for each in within if each.built and each.path])  # else Keras has not built it

    @contextmanager
    def noting(self) -> Iterator:
        """Inside, variables are made without values, which are given to them when they have been filled."""
        outer, noted = global_state.get_global_attribute(NOTED), _Noted(self.told)
        global_state.set_global_attribute(NOTED, noted)
        with self.scope:
            try:
                yield
            finally:  # else Keras gives them values when the next scope ends, whoever has opened that
                self.variables += noted
                global_state.set_global_attribute(NOTED, outer)


class _Noted(list):
    """The list in which Keras notes variables without values, each of which is told of."""

    def __init__(self, told):
        super().__init__()
        self.told = told

    def append(self, variable) -> None:
        super().append(variable)
        if self.told is not None:
            self.told(variable)


class _Given:
    """The value that a variable is made of, in the form of an initializer."""

    def __init__(self, value):
        self.value = value

    def __call__(self, shape, dtype=None) -> Any:
        return self.value


def _made_of_values(make):
    @wraps(make)
    def made(variable, initializer, shape=None, dtype=None, *arguments, **options):
        noted = isinstance(global_state.get_global_attribute(NOTED), _Noted) and stateless_scope.in_stateless_scope()
        if noted and not callable(initializer) and not isinstance(initializer, str):
            initializer = _Given(keras.ops.convert_to_tensor(initializer, dtype))
            shape, dtype = initializer.value.shape, dtype or initializer.value.dtype
        make(variable, initializer, shape, dtype, *arguments, **options)

    return made


# within a scope Keras makes variables of functions alone, but a layer of somebody else may make one of an array
KerasVariable.__init__ = _made_of_values(KerasVariable.__init__)


def _give(variable, scope):
    """The value that a variable was assigned within a scope, or that of its initializer."""
    value = scope.state_mapping.pop(id(variable), None)
    if value is None or isinstance(variable._initializer, _Given):  # whose tensor somebody may read beside the variable
        variable._deferred_initialize()
        if value is not None:
            variable.assign(value)
    else:
        variable._initialize(value)
        variable._initializer = None


@contextmanager
def _outside_scopes():
    outer = stateless_scope.get_stateless_scope()
    global_state.set_global_attribute("stateless_scope", None)
    try:
        yield
    finally:
        global_state.set_global_attribute("stateless_scope", outer)
