"""CrossTune: embeddings that ask descriptions of the classes; of the model nothing but what it gives is needed."""

import math
from typing import ClassVar

import numpy as np

from kzoo.adaptation.classifiers.arrays import examples_of, rows_of
from kzoo.adaptation.classifiers.classifier import SCALE, TextClassifier
from kzoo.arguments import AMOUNT, COUNT, POSITIVE
from kzoo.evaluation.zero_shot import softmax
from kzoo.types import Array

HEADS = 8  # or the largest number that divides 8 and the width


class CrossTune(TextClassifier):
    """Cross-attention from embeddings to texts about the classes, trained on a few examples of each: the model itself
    is a black box that embeds.

    `z = x + attention(x, D)`, with D the embeddings of all descriptions; logits are `scale` times the cosine of z and
    the text of each class. The attention's answer begins at zero, so that the classifier begins as zero-shot. `x` may
    be embeddings of pictures or of texts.

    Args:
        embeddings: float array `(n, dim)` of examples; any length.
        labels: int array `(n,)`, places of their classes.
        zero_shot: float array `(classes, dim)`, the texts of the classes.
        classes: names; default their numbers.
        descriptions: float array `(rows, dim)`, embeddings of sentences that tell the classes apart, any number of
            each; default `zero_shot`.
        scale: of the logits, `model.scale_and_bias()[0]`.
        epochs: passes over the examples; 0 leaves it zero-shot.
        learning_rate: of AdamW (weight decay 0.01), falling to 0 as a cosine.
        batch_size: examples per step.
        seed: of first numbers and order.

    Raises:
        ValueError: a class without an example; arrays that do not go together.

    We know the paper, which compares the token states of a text with its label descriptions, and has a language model
    write further examples, which a switch sorts out; hand such over as examples. One vector that asks, the sum, and the
    beginning as zero-shot are our choice.

    Example:
        >>> _, told = describe_classes(export.encode_text, {"wren": [...], "robin": [...]})
        >>> tuned = CrossTune(export.encode_image(shots), labels, told, classes, export.encode_text(sentences))
        >>> tuned.predict(export.encode_image(["wren.jpg"]))
        array([0])

    Reference:
        Luo et al., CrossTune: Black-Box Few-Shot Classification with Label Enhancement, 2024, arXiv 2403.12468.
    """

    tensors: ClassVar[dict] = TextClassifier.tensors | {
        "descriptions": ("rows", "dim"),
        "query": ("dim", "dim"),
        "key": ("dim", "dim"),
        "value": ("dim", "dim"),
        "out": ("dim", "dim"),
    }
    arguments: ClassVar[dict] = {
        "epochs": AMOUNT,
        "learning_rate": POSITIVE,
        "batch_size": COUNT,
        "seed": AMOUNT,
    }

    def __init__(
        self,
        embeddings,
        labels,
        zero_shot,
        classes=None,
        descriptions=None,
        scale=SCALE,
        epochs=50,
        learning_rate=1e-3,
        batch_size=32,
        seed=0,
    ):
        texts = rows_of(zero_shot, "zero_shot")
        rows, labels, classes = examples_of(embeddings, labels, classes, len(texts))
        dim = texts.shape[1]
        rows_of(rows, dim=dim)
        told = texts if descriptions is None else rows_of(descriptions, "descriptions", dim)
        self._settle(classes, dim, zero_shot=texts, descriptions=told, scale=float(scale), **_first(dim, seed))
        if epochs:
            from kzoo.adaptation.small_fit import fit_cross_attention

            options = {"epochs": epochs, "learning_rate": learning_rate, "batch_size": batch_size, "seed": seed}
            vars(self).update(fit_cross_attention(self, rows, labels, **options))

    @property
    def num_heads(self) -> int:
        """Heads of the attention."""
        return math.gcd(HEADS, self.dim)

    def _logits(self, rows) -> Array:
        heads = (-1, self.num_heads, self.dim // self.num_heads)
        query, key, value = (
            (each @ matrix).reshape(heads)
            for each, matrix in ((rows, self.query), (self.descriptions, self.key), (self.descriptions, self.value))
        )
        scores = np.einsum("nhd,rhd->nhr", query, key) / math.sqrt(heads[2])
        shares = softmax(scores.reshape(-1, scores.shape[-1])).reshape(scores.shape)
        moved = rows + np.einsum("nhr,rhd->nhd", shares, value).reshape(rows.shape) @ self.out
        lengths = np.sqrt(np.maximum(np.square(moved).sum(axis=1, keepdims=True), 1e-12))
        return self.zero_shot_logits(moved / lengths)


def _first(dim, seed):
    """What the attention begins as."""
    random = np.random.default_rng(seed)
    found = {name: random.normal(0.0, dim**-0.5, (dim, dim)).astype("float32") for name in ("query", "key", "value")}
    return found | {"out": np.zeros((dim, dim), "float32")}
