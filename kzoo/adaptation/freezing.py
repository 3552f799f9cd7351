"""Which weights of a model are trained, by their paths."""

from typing import Any

from kzoo.arguments import able
from kzoo.layers.locking import lock, unlock
from kzoo.paths import parameters
from kzoo.patterns import PATTERNS, matching

MODEL = able("trainable_variables weights", "a model or a layer of Keras")


def freeze(model, *patterns) -> None:
    """Leave weights of a model as they are when it is trained.

    They are in no gradient, and an optimizer that is made later has no state for them. A layer all of whose weights are
    frozen runs as in inference: a batch norm keeps its statistics, too. One of which single weights are frozen goes on
    gathering them. What is frozen stays so in the files of `save_to_preset` and `save`.

    An optimizer is made for the weights that are open when it is made: after a training, call `compile` again, which
    `fit` also says.

    Args:
        model: a built model, or a layer.
        *patterns: paths of weights or of layers, such as `"image_encoder"`, `"**.bias"` or
            `"image_encoder.blocks.{0..5}"`; see `kzoo.patterns`. `trainable_report` shows what there is.

    Raises:
        ValueError: no pattern, one that names nothing, with the nearest names, or one that names only what is never
            trained, such as the statistics of a batch norm; nothing is changed.

    Example:
        >>> kzoo.adaptation.freeze(model, "image_encoder")  # locked-image tuning
        >>> model.compile(kzoo.training.AdamW(1e-4))

    Reference:
        Zhai et al., LiT: Zero-Shot Transfer with Locked-image Text Tuning, 2021, arXiv 2111.07991.
    """
    lock(model, chosen(model, patterns))


def unfreeze(model, *patterns) -> None:
    """Train weights of a model again; other weights of their layers stay as they are.

    Args:
        model: a built model, or a layer.
        *patterns: as of `freeze`.

    Raises:
        ValueError: as of `freeze`; or weights of a teacher, which is locked for good.

    Example:
        >>> kzoo.adaptation.freeze(model, "**")
        >>> kzoo.adaptation.unfreeze(model, "image_encoder.blocks.{-2..-1}", "image_encoder.projection")
    """
    unlock(model, chosen(model, patterns))


def chosen(model, patterns) -> list[Any]:
    """The weights to train that patterns name, list of `kzoo.paths.Parameter`; stops at what names none."""
    MODEL("model", model)
    PATTERNS("patterns", patterns)
    if not patterns:
        raise ValueError("no pattern is given; name what is meant, such as 'image_encoder', or '**' for all.")
    known = parameters(model)
    for pattern in patterns:
        found = matching([pattern], known)
        if not any(each.trains for each in found):
            raise ValueError(
                f"the pattern {pattern!r} names only what is never trained, such as {found[0].path}; name the layer "
                "around it."
            )
    return [each for each in matching(patterns, known) if each.trains]
