"""What would compare a batch with less than itself, or with more, and say nothing of it: refused until kzoo does it."""

import keras

from kzoo.keras_contact import layers_within, unscaled
from kzoo.scale.engine import check, parts_read


def check_devices(model, training) -> None:
    """Stops where a batch is shared among several devices in a way that gives other gradients than one device.

    Args:
        model: a `keras.Model`, which keeps the strategy in whose scope it was made.
        training: whether a step of training is meant; processes of torch that were not joined may evaluate each for
            itself.

    Raises:
        NotImplementedError: an engine, or a way to use it, that nobody has tried.
        ValueError: a model that was built before the devices were shared.
    """
    if training or keras.config.backend() != "torch":
        check(model)
    strategy = model.distribute_strategy if keras.config.backend() == "tensorflow" else None
    has_replicas = strategy is not None and strategy.num_replicas_in_sync > 1
    if parts_read()[1] > 1 or has_replicas:
        _check_heads(model)
    if training and has_replicas:
        _check_averages(unscaled(model.optimizer))


def _check_averages(optimizer):
    """Keras puts averages in the place of weights by a branch that each replica takes, which TensorFlow does not do."""
    if optimizer.use_ema and optimizer.ema_overwrite_frequency:
        raise NotImplementedError(
            f"the optimizer has ema_overwrite_frequency={optimizer.ema_overwrite_frequency}, which TensorFlow cannot "
            "do on several replicas; leave it out: the averages take the place of the weights when fit ends."
        )


def _check_heads(model):
    """A head sees the rows of one device: what it makes of one must not depend on the others."""
    found = [each for each in layers_within(model) if getattr(each, "compares_rows", False)]
    if found:
        raise NotImplementedError(
            f"{type(found[0]).__name__} compares the rows of a batch with each other within the model, where several "
            "devices have a part of it each; train on one device."
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
            "save memory by compile(micro_batch_size=..., loss_block_size=...)."
        )
