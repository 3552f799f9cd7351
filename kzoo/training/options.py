"""What `compile` of a model sets beside loss and optimizer, and saves with them."""

import keras

from kzoo.arguments import RATE, check, number, one_of
from kzoo.keras_contact import scale_rates, untracked
from kzoo.layers.adapted import rates_of
from kzoo.losses.parts.arguments import BLOCK
from kzoo.training.health import Health
from kzoo.training.layer_decay import rates_by_depth
from kzoo.training.patch_dropout import PatchDropout, check_patches
from kzoo.training.watched import watched_layers

DEFAULTS = {"loss_block_size": "auto", "layer_decay": 1.0, "patch_dropout": 0.0, "non_finite": "stop"}
KINDS = {
    "loss_block_size": BLOCK,
    "layer_decay": number(above=0, most=1),
    "patch_dropout": RATE,
    "non_finite": one_of("stop", "skip"),
}


def check_options(model, options) -> None:
    """Stops with a sentence where an option is not what it may be, or the model has no use for it."""
    check(KINDS, options)
    if options["patch_dropout"]:
        check_patches(model)


def set_options(model, options) -> dict:
    """Keep the options of a compiled model, by name; what is to be attached to it: `health` and `patches`."""
    for name, value in options.items():
        untracked(model, name, value)
    untracked(model, "few_rows", True)  # of a batch of no fixed size, until `expect_rows` says otherwise
    rates, ratios = rates_by_depth(model, options["layer_decay"]), rates_of(model)
    ratios |= getattr(model, "rate_ratios", dict)()  # of a model that trains some of its parts slower
    scale_rates(model.optimizer, rates | {each: ratio * rates.get(each, 1.0) for each, ratio in ratios.items()})
    skips = options["non_finite"] == "skip" or isinstance(model.optimizer, keras.optimizers.LossScaleOptimizer)
    untracked(model, "watched", watched_layers(model))
    weights = [each.path for each in model.trainable_variables] if skips else []
    rate = options["patch_dropout"]
    return {
        "health": Health(len(model.watched), weights),
        "patches": PatchDropout(rate, name="patch_dropout") if rate else None,
    }


def options_of(model) -> dict:
    """The options that a model was compiled with."""
    return {name: getattr(model, name) for name in DEFAULTS}
