"""Weights of a model that are trained as they are: all of a tower, or its biases."""

from kzoo.adaptation.freezing import chosen, freeze, unfreeze
from kzoo.arguments import NAME, Checked
from kzoo.patterns import PATTERNS


class FineTuning(Checked):
    """Train weights of a model as they are, and no others.

    `kzoo.adapt` takes it as `"full"`, with the cross-entropy of the classes, and as `"flyp"`, with all weights of both
    towers and the contrastive loss of pictures and texts of their classes, as the model was trained before.

    Args:
        targets: patterns of weights or layers, see `kzoo.patterns`.

    Example:
        >>> kzoo.adaptation.FineTuning("image_encoder.blocks.{-2..-1}").begin(model)
        >>> model.compile(kzoo.training.AdamW(1e-5))

    Reference:
        Goyal et al., Finetune like you pretrain, 2022, arXiv 2212.00638.
    """

    arguments = {"targets": PATTERNS | NAME}

    def __init__(self, targets=("image_encoder",)):
        self.targets = (targets,) if isinstance(targets, str) else tuple(targets)

    def begin(self, model) -> None:
        """Open these weights of a model and lock all others.

        Args:
            model: a built model.

        Raises:
            ValueError: a pattern that names nothing; nothing is changed.
        """
        chosen(model, self.targets)  # stops before anything is changed
        freeze(model, "**")
        unfreeze(model, *self.targets)


class BitFit(FineTuning):
    """Train the biases alone, a thousandth of the weights.

    Args:
        targets: patterns of them; default all of the image tower, gains of norms not among them.

    Example:
        >>> kzoo.adaptation.BitFit().begin(model)
        >>> model.compile(kzoo.training.AdamW(1e-3, weight_decay=0.0))

    Reference:
        Ben Zaken et al., BitFit, 2021, arXiv 2106.10199.
    """

    def __init__(self, targets=("image_encoder.**.{bias,beta}",)):
        super().__init__(targets)
