"""Concept matrix search: a picture and a class are alike where they are alike to the same concepts."""

from typing import ClassVar

import numpy as np

from kzoo.adaptation.classifiers.arrays import classes_of, rows_of
from kzoo.adaptation.classifiers.classifier import EmbeddingClassifier
from kzoo.arguments import FLAG
from kzoo.types import Array


class ConceptMatrixSearch(EmbeddingClassifier):
    """Cosines of what pictures and classes have in common with each concept: `cos(x K^T, t_c K^T)`.

    Nothing is trained, and of a picture it can be said why: by its scores of the concepts.

    Args:
        zero_shot: float array `(classes, dim)`, the texts of the classes.
        concepts: float array `(concepts, dim)`, the texts of the concepts, such as "has a long beak".
        classes: names; default their numbers.
        cubed: whether scores are raised to the third power before they are compared, so that the strongest count.

    The authors divide each row by its sum, which changes no cosine but the sign where the sum is negative: here nothing
    is divided (our choice).

    Raises:
        ValueError: arrays that do not go together; a class that has nothing to do with any concept.

    Example:
        >>> search = ConceptMatrixSearch(model.encode_text(classes), model.encode_text(concepts), classes)
        >>> search.concept_scores(model.encode_image(["wren.jpg"])).argmax(axis=1)
        array([17])

    Reference:
        Semenov et al., Sparse Concept Bottleneck Models, 2024, arXiv 2404.03323.
    """

    tensors: ClassVar[dict] = {"concepts": ("concepts", "dim"), "class_scores": ("classes", "concepts")}
    numbers: ClassVar[dict] = {"cubed": FLAG}
    arguments: ClassVar[dict] = {"cubed": FLAG}

    def __init__(self, zero_shot, concepts, classes=None, cubed=False):
        texts = rows_of(zero_shot, "zero_shot")
        concepts = rows_of(concepts, "concepts", texts.shape[1])
        scores = rows_of(texts @ concepts.T, "the scores of the classes")
        if cubed:
            scores = rows_of(scores**3, "the scores of the classes")
        classes = classes_of(classes, len(texts))
        self._settle(classes, texts.shape[1], concepts=concepts, class_scores=scores, cubed=bool(cubed))

    def concept_scores(self, embeddings) -> Array:
        """Cosines with each concept.

        Args:
            embeddings: as in `logits`.

        Returns:
            float32 array `(n, concepts)`.
        """
        return rows_of(embeddings, dim=self.dim) @ self.concepts.T

    def _logits(self, rows) -> Array:
        scores = rows @ self.concepts.T
        scores = scores**3 if self.cubed else scores
        length = np.linalg.norm(scores, axis=1, keepdims=True)
        return scores @ self.class_scores.T / np.maximum(length, np.finfo("float32").tiny)
