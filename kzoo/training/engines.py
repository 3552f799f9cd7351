"""What would compare a batch with less than itself, or with more, and say nothing of it: refused until kzoo does it."""

import keras

from kzoo.keras_contact import unscaled
from kzoo.losses.parts.own_loops import OTHER_LOSS
from kzoo.scale.engine import check


def check_devices(model, training) -> None:
    """Stops where a batch is shared among several devices, each of which would see its own part only.

    Args:
        model: a `keras.Model`, which keeps the strategy in whose scope it was made.
        training: whether a step of training is meant; processes of torch that were not joined may evaluate each for
            itself.

    Raises:
        NotImplementedError: more than one device.
    """
    if keras.config.backend() == "tensorflow":
        strategy = model.distribute_strategy
        _refuse(strategy.num_replicas_in_sync, f"tf.distribute.{type(strategy).__name__}")
    if training:
        check(model)


def _refuse(count, engine):
    if count > 1:
        raise NotImplementedError(
            f"{engine} shares each batch among {count} devices, and {OTHER_LOSS}; train on one device, or on jax with "
            "keras.distribution.DataParallel, where a batch stays whole."
        )


def check_optimizer(optimizer) -> None:
    """Stops at an optimizer that sums gradients of several steps: a pair would not meet the negatives of the others.

    Raises:
        ValueError: `gradient_accumulation_steps`.
    """
    optimizer = unscaled(optimizer)
    if isinstance(optimizer, keras.optimizers.Optimizer) and optimizer.gradient_accumulation_steps:
        raise ValueError(
            f"the optimizer has gradient_accumulation_steps={optimizer.gradient_accumulation_steps}, but gradients of "
            "small batches do not add up to that of a large one, whose pairs have more negatives; leave it out, and "
            "save memory by compile(micro_batch_size=...), and by block_size of the loss."
        )
