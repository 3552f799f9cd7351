"""Whether a prediction is one program or several: of large towers of many blocks several are ready sooner."""

from contextlib import nullcontext
from functools import partial
from typing import Any

import keras

from kzoo.keras_contact import layers_within
from kzoo.layers.repeated import Repeated
from kzoo.scale.engine import parts_read
from kzoo.training.step import predicted

FEWEST_BLOCKS = 4
FEWEST_WEIGHTS = 250_000  # of a block: to start a program takes about 20 microseconds


def programs_of(model) -> Any:
    """What runs a prediction of a model on jax: several programs, `kzoo.models.programs_jax.Programs`, or one.

    Several on processors alone: there XLA takes longer to compile a large tower than to run it, and starts a program at
    once. Neither takes the memory of the weights, as the program of Keras does, with which threads that ask at the same
    time would find none.

    Returns:
        A function of values of variables and a batch; None where a prediction is left to Keras.
    """
    if keras.config.backend() != "jax" or not model.jit_compile or model.run_eagerly:
        return None
    import jax

    if keras.distribution.distribution() is not None or parts_read()[1] > 1:
        return None
    if model.micro_batch_size is not None or jax.default_backend() != "cpu" or not _has_many_blocks(model):
        return jax.jit(lambda state, batch: predicted(model, state, batch))  # a new one, which jax has not met before
    from kzoo.models.programs_jax import Programs

    return Programs(partial(predicted, model))


def blocks_of(model) -> Any:
    """A context in which a prediction of a model is traced on TensorFlow, that blocks which are alike are so once.

    Returns:
        `kzoo.models.programs_tensorflow.blocks_once`; or one that changes nothing, as where XLA compiles the graph.
    """
    apart = model.jit_compile or model.run_eagerly or model.micro_batch_size is not None
    if keras.config.backend() != "tensorflow" or apart or not _has_many_blocks(model):
        return nullcontext
    from kzoo.models.programs_tensorflow import blocks_once

    return blocks_once


def _has_many_blocks(model):
    blocks = (each for each in layers_within(model) if isinstance(each, Repeated))
    return sum(each.count_params() >= FEWEST_WEIGHTS for each in blocks) >= FEWEST_BLOCKS
