"""Which pictures are shown: so many of each class, the same ones whoever asks."""

import numpy as np

from kzoo.adaptation.classifiers.arrays import classes_of, labels_of
from kzoo.arguments import AMOUNT, COUNT, takes
from kzoo.types import Array


@takes(shots=COUNT, seed=AMOUNT)
def few_shot(labels, shots, seed=0, classes=None) -> Array:
    """Places of some pictures of each class, drawn without replacement.

    The draw of a class depends on the seed and its own place alone, and fewer shots are the first of more: the pictures
    of 1, 2, 4, 8 and 16 shots lie in each other, and another class changes no other's.

    Args:
        labels: int array `(n,)`, places of classes.
        shots: pictures of each class.
        seed: of the draw.
        classes: names; default their numbers, up to the largest label.

    Returns:
        int64 array `(classes * shots,)`, class by class.

    Raises:
        ValueError: a class with fewer pictures, one class, labels out of range.

    Example:
        >>> chosen = few_shot(labels, 4)
        >>> classifier = kzoo.adaptation.TipAdapter(embeddings[chosen], labels[chosen], texts)
    """
    count = np.size(labels)
    if not count:
        raise ValueError("labels is empty; give one for each picture.")
    labels = labels_of(labels, count, None if classes is None else len(classes_of(classes)))
    names = classes_of(classes, int(labels.max()) + 1 if classes is None else None)
    chosen = []
    for place, name in enumerate(names):
        own = np.flatnonzero(labels == place)
        if len(own) < shots:
            count = f"{len(own)} picture{'' if len(own) == 1 else 's'}"
            raise ValueError(f"class {name!r} has {count}, fewer than the {shots} shots; give more, or fewer shots.")
        chosen.append(np.random.default_rng((seed, place)).permutation(own)[:shots])
    return np.concatenate(chosen)
