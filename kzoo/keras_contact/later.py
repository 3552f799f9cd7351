"""Layers whose variables get their values after all of them are built, by the way in which Keras itself builds a layer
that it first asks for its shapes."""

from typing import Any

import keras
from keras.src.backend.common import global_state, stateless_scope

from kzoo.keras_contact.adapted import found_anew
from kzoo.keras_contact.attributes import layers_within


def can_be_given_later() -> bool:
    """Whether variables that are made here may get their values later: not within a scope of another."""
    return not stateless_scope.in_stateless_scope() and not keras.config.is_nnx_enabled()


def built_without_values(build, *args) -> tuple[Any, list, Any]:
    """What a function builds, with variables that have names and shapes, and no values yet.

    Returns:
        tuple of what it returns, the variables in the order in which they were made, and what `give_values` is to be
        told.
    """
    noted = global_state.get_global_attribute("uninitialized_variables", [], set_to_default=True)
    before = len(noted)
    with keras.StatelessScope(initialize_variables=False) as scope:
        try:
            built = build(*args)
        finally:  # else Keras gives them values when the next scope ends, whoever has opened that
            made = noted[before:]
            del noted[before:]
    return built, made, scope


def initializer_of(variable) -> Any:
    """The function that makes the value of a variable which has none yet."""
    return variable._initializer


def give_values(layers, variables, scope) -> None:
    """Values for what was built without, by the initializers of the variables, in their order.

    Args:
        layers: list of those that hold the variables.
        variables, scope: as of `built_without_values`.
    """
    for each in variables:
        each._deferred_initialize()
    for each in variables:
        assigned = scope.get_current_value(each)  # while it was built
        if assigned is not None:
            each.assign(assigned)
    found_anew([each for layer in layers for each in layers_within(layer) if each.built])
