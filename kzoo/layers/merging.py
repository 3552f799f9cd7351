"""What is trained in branches and runs as one convolution: how the one takes the numbers of the other."""

from kzoo.layers.changed import copy_weights


class Mergeable:
    """Mixin for a layer that is built with branches, or of the same arguments with `merged=True`.

    A subclass gives `parts`, where those merge one by one, or defines `take_merged`, where it merges itself.
    """

    @property
    def parts(self) -> tuple:
        """The layers within, in one order with branches and without; any layer, also such as never has branches."""
        raise NotImplementedError(f"{type(self).__name__} neither gives its parts nor defines take_merged.")

    def take_merged(self, other) -> None:
        """Take the numbers of the same layer with branches.

        Args:
            other: a layer of the class and the arguments of this one, but for `merged`.
        """
        for ours, theirs in zip(self.parts, other.parts, strict=True):
            merge(ours, theirs)


def merge(new, old) -> None:
    """Give a layer that has merged convolutions the numbers of one that has branches; LoRA is merged too.

    Args:
        new: a layer, freshly built with `merged=True`.
        old: of the same arguments without.
    """
    if isinstance(new, Mergeable):
        new.take_merged(old)
    else:
        copy_weights(old, new)
