"""A concept bottleneck: classes by way of concepts, which are trained with them."""

from typing import ClassVar

from kzoo.adaptation.classifiers.arrays import examples_of, rows_of
from kzoo.adaptation.classifiers.classifier import SCALE, EmbeddingClassifier
from kzoo.arguments import AMOUNT, COUNT, NOT_NEGATIVE, POSITIVE, one_of
from kzoo.types import Array


class SparseConceptBottleneck(EmbeddingClassifier):
    """Linear classes of linear mixtures of concept scores: `y = z H`, `z = s A`, `s = scale * x K^T`.

    Both matrices are trained at once, by Keras on its backend, on the cross-entropy of the pictures plus what keeps the
    mixtures near single concepts:

    - `"gumbel"`: `-mean log softmax(z + g)` with Gumbel noise g, over pictures and over concepts, averaged. As in the
      authors' code it is the mean over all entries.
    - `"l1"`: `l1 * sum |A| / concepts`.

    Their third objective, `"contrastive"`, pairs the picture at each place of a batch with the concept at that place,
    which says something of batches of pairs alone, and is not offered. `A` begins as the identity and `H` at zero, so
    that `z` begins as the scores themselves (our choice).

    Args:
        embeddings: float array `(n, dim)` of pictures; any length.
        labels: int array `(n,)`, places of their classes.
        concepts: float array `(concepts, dim)`, the texts of the concepts.
        classes: names; default their numbers.
        objective: `"gumbel"` or `"l1"`.
        l1: weight of the latter.
        scale: of the scores, `model.scale_and_bias()[0]`.
        epochs: passes over the pictures.
        learning_rate: of AdamW, falling to 0 as a cosine.
        batch_size: pictures per step.
        seed: of their order, and of the noise.

    Raises:
        ValueError: a class without a picture; arrays that do not go together.

    Example:
        >>> texts = model.encode_text(concepts)
        >>> bottleneck = SparseConceptBottleneck(model.encode_image(shots), labels, texts, classes)
        >>> bottleneck.concept_scores(model.encode_image(["wren.jpg"]))  # what it decides by
        >>> bottleneck.head[:, 3]  # what each concept adds to class 3

    Reference:
        Semenov et al., Sparse Concept Bottleneck Models, 2024, arXiv 2404.03323.
    """

    tensors: ClassVar[dict] = {
        "concepts": ("concepts", "dim"),
        "mixtures": ("concepts", "concepts"),
        "head": ("concepts", "classes"),
    }
    numbers: ClassVar[dict] = {"scale": POSITIVE}
    arguments: ClassVar[dict] = {
        "objective": one_of("gumbel", "l1"),
        "l1": NOT_NEGATIVE,
        "scale": POSITIVE,
        "epochs": COUNT,
        "learning_rate": POSITIVE,
        "batch_size": COUNT,
        "seed": AMOUNT,
    }

    def __init__(
        self,
        embeddings,
        labels,
        concepts,
        classes=None,
        objective="gumbel",
        l1=1e-3,
        scale=SCALE,
        epochs=50,
        learning_rate=1e-2,
        batch_size=256,
        seed=0,
    ):
        from kzoo.adaptation.small_fit import fit_bottleneck

        rows, labels, classes = examples_of(embeddings, labels, classes)
        concepts = rows_of(concepts, "concepts", rows.shape[1])
        options = {"epochs": epochs, "learning_rate": learning_rate, "batch_size": batch_size, "seed": seed}
        scores = float(scale) * (rows @ concepts.T)
        weight = None if objective == "gumbel" else float(l1)
        mixtures, head = fit_bottleneck(scores, labels, len(classes), weight, **options)
        self._settle(classes, rows.shape[1], concepts=concepts, mixtures=mixtures, head=head, scale=float(scale))

    def concept_scores(self, embeddings) -> Array:
        """What the classes are made of: scores of the concepts as they were mixed.

        Args:
            embeddings: as in `logits`.

        Returns:
            float32 array `(n, concepts)`.
        """
        return self.scale * (rows_of(embeddings, dim=self.dim) @ self.concepts.T) @ self.mixtures

    def _logits(self, rows) -> Array:
        return self.concept_scores(rows) @ self.head
