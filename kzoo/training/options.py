"""What `compile` of a model sets beside loss and optimizer, and saves with them."""

from typing import Any

from kzoo.arguments import RATE, check, number, one_of
from kzoo.keras_contact import scale_rates, untracked
from kzoo.losses.parts.arguments import BLOCK
from kzoo.training.layer_decay import rates_by_depth
from kzoo.training.patch_dropout import PatchDropout, check_patches

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


def set_options(model, options) -> Any:
    """Keep the options of a compiled model, by name; the `PatchDropout` to attach to it, or None."""
    for name, value in options.items():
        untracked(model, name, value)
    untracked(model, "few_rows", True)  # of a batch of no fixed size, until `expect_rows` says otherwise
    scale_rates(model.optimizer, rates_by_depth(model, options["layer_decay"]))
    return PatchDropout(options["patch_dropout"], name="patch_dropout") if options["patch_dropout"] else None


def options_of(model) -> dict:
    """The options that a model was compiled with."""
    return {name: getattr(model, name) for name in DEFAULTS}
