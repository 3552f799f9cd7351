"""The classifier of the nearest mean."""

from typing import ClassVar

from kzoo.adaptation.classifiers.arrays import examples_of, means_of
from kzoo.adaptation.classifiers.classifier import SCALE, EmbeddingClassifier
from kzoo.arguments import POSITIVE
from kzoo.evaluation.directions import directions
from kzoo.types import Array


class NearestClassMean(EmbeddingClassifier):
    """Cosines with the mean of each class's pictures: `scale * x n(mean)`.

    Args:
        embeddings: float array `(n, dim)` of pictures; any length.
        labels: int array `(n,)`, places of their classes.
        classes: names; default their numbers.
        scale: of the logits.

    Raises:
        ValueError: a class without a picture, or whose pictures cancel each other out; arrays that do not go together.

    Example:
        >>> NearestClassMean(model.encode_image(shots), labels, ["cat", "dog"]).predict(model.encode_image(["cat.jpg"]))
        array([0])

    Reference:
        Mensink et al., Distance-Based Image Classification, 2013; Snell et al., Prototypical Networks, 2017, arXiv
        1703.05175.
    """

    tensors: ClassVar[dict] = {"means": ("classes", "dim")}
    numbers: ClassVar[dict] = {"scale": POSITIVE}
    arguments: ClassVar[dict] = {"scale": POSITIVE}

    def __init__(self, embeddings, labels, classes=None, scale=SCALE):
        rows, labels, classes = examples_of(embeddings, labels, classes)
        means = directions(means_of(rows, labels, len(classes)), "the means of the classes").astype("float32")
        self._settle(classes, rows.shape[1], means=means, scale=float(scale))

    def _logits(self, rows) -> Array:
        return self.scale * (rows @ self.means.T)
