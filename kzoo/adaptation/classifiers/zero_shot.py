"""The classifier that needs no picture: the text of each class."""

from kzoo.adaptation.classifiers.arrays import classes_of, rows_of
from kzoo.adaptation.classifiers.classifier import SCALE, TextClassifier
from kzoo.types import Array


class ZeroShot(TextClassifier):
    """Cosines with the texts of the classes: what every other classifier here is compared with.

    Args:
        zero_shot: float array `(classes, dim)`, an embedding of each class, such as
            `kzoo.evaluation.class_embeddings` or `describe_classes` gives.
        classes: names; default their numbers.
        scale: of the logits, `model.scale_and_bias()[0]`.

    Raises:
        ValueError: one class, a name twice, an embedding that is zero or not finite.

    Example:
        >>> prompts = kzoo.evaluation.fill_templates(["cat", "dog"], "a photo of a {}.")
        >>> texts = kzoo.evaluation.class_embeddings(model.encode_text(prompts), 2)
        >>> ZeroShot(texts, ["cat", "dog"]).predict(model.encode_image(["cat.jpg"]))
        array([0])

    Reference:
        Radford et al., CLIP, 2021, arXiv 2103.00020.
    """

    def __init__(self, zero_shot, classes=None, scale=SCALE):
        rows = rows_of(zero_shot, "zero_shot")
        self._settle(classes_of(classes, len(rows)), rows.shape[1], zero_shot=rows, scale=scale)

    def _logits(self, rows) -> Array:
        return self.zero_shot_logits(rows)
