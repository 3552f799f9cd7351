"""The seed that Keras keeps for a whole process."""

from typing import Any

from keras.src.random import seed_generator


def global_seed(make=False) -> Any:
    """The variable of Keras' own generator, from which operations draw that are given no seed.

    Args:
        make: whether it is made where it is not there yet; else None is given.
    """
    kept = seed_generator.global_state.get_global_attribute(seed_generator.GLOBAL_SEED_GENERATOR)
    if kept is None and make:
        kept = seed_generator.global_seed_generator()
    return None if kept is None else kept.state
