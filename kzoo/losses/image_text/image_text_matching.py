"""ALBEF's matching loss: does this text belong to this image, asked of a head that sees both."""

import keras
from keras import ops

from kzoo.losses.base import Loss, weighted_mean
from kzoo.losses.parts.linear_cross_entropy import cross_entropy
from kzoo.types import Tensor


@keras.saving.register_keras_serializable(package="kzoo")
class ImageTextMatching(Loss):
    """Cross-entropy of a head that says of a pair whether image and text belong together.

    `L = (1/N) sum_i [ LSE_c z_ic - z_{i, y_i} ]` over N pairs.

    Args:
        inputs: names of the tensors to read; default `("match_logits", "matching_labels")`.

    Inputs:
        logits: float tensor `(pairs, 2)`, for "does not belong" and "belongs". Of a batch of B the authors take 3 B
            pairs: the right ones, each image with a hard text and each text with a hard image.
        labels: int tensor `(pairs,)`, 1 where the pair belongs together, else 0.
        sample_weight: float tensor `(pairs,)`.

    Feeding:
        `MatchingEncoder` and `kzoo.data.pairs(source, preprocessor, columns=("matching_labels",))`, of right pairs and
        of wrong ones.

    Returns:
        float32 scalar; `ln 2` for equal logits.

    Raises:
        ValueError: `logits` is not `(pairs, 2)`.

    Recommendations:
        `kzoo.data.hard_negative_probabilities` and `draw_hard_negatives` choose the wrong pairs, from the embeddings
        that a contrastive loss trains beside: `InfoNCE() + ImageTextMatching()`.

    Example:
        >>> ImageTextMatching()(np.zeros((3, 2)), np.array([1, 0, 0]))
        0.6931

    Reference:
        Li et al., Align before Fuse (ALBEF), 2021, arXiv 2107.07651.
    """

    default_inputs = ("match_logits", "matching_labels")
    shapes = Loss.shapes | {"logits": "pairs 2", "labels": "pairs", "sample_weight": "pairs"}
    numbers = Loss.numbers | {"labels": "index of 2"}

    def call(self, logits, labels, sample_weight=None) -> Tensor:
        return weighted_mean(cross_entropy(logits, ops.cast(labels, "int32")), sample_weight)
