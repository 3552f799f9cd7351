"""Which words a caption holds, told from the picture alone (SuperCLIP)."""

import keras
from keras import ops

from kzoo.losses.base import Loss, weighted_mean
from kzoo.types import Tensor


@keras.saving.register_keras_serializable(package="kzoo")
class TokenClassification(Loss):
    """Cross-entropy of one softmax over the vocabulary against the set of words in the caption.

    With logits `z_i` over the vocabulary, made of the picture, and `S_i` the set of the caption's tokens:
    `L = mean_i sum_{v in S_i} y_iv (LSE z_i - z_iv)`, `y_iv = w_v / sum_{u in S_i} w_u`. How often a token
    stands in a caption does not matter, and `w` says which are rare. From memory of the paper.

    Args:
        vocab_size: give the loss a table `token_weights` of that many ones, saved with the model, for the inverse
            document frequencies of the captions: `loss.token_weights.assign(idf)`. None: all tokens weigh 1 unless
            `call` is given weights.
        inputs: names of the tensors to read; default `("token_logits", "token_ids")`.

    Inputs:
        logits: float tensor `(batch, vocabulary)`.
        token_ids: int tensor `(batch, length)`; negative ids do not count.
        mask: bool tensor `(batch, length)`, True where a token counts (`padding_mask` of the batch). Start and end
            tokens count as any other: give them weight 0.
        token_weights: float tensor `(vocabulary,)`, `w` above, at least 0.
        sample_weight: float tensor `(batch,)`.

    Feeding:
        `DualEncoder(..., heads=[Head(Classifier(vocab_size), "image_features", "token_logits")])`, on any pairs;
        weights are `constants={"token_weights": weights}`.

    Returns:
        float32 scalar; a caption without a token that counts has loss 0.

    Raises:
        ValueError: inputs of another rank.

    Recommendations:
        Beside a contrastive loss, `InfoNCE() + TokenClassification()`: it keeps details that a batch of captions
        does not tell apart, for the cost of a linear layer.

    Example:
        >>> TokenClassification()(np.zeros((2, 8)), np.array([[1, 2, 2, -1], [3, 4, 5, 6]]))
        2.0794

    Reference:
        Zhao et al., SuperCLIP: CLIP with Simple Classification Supervision, 2025, arXiv 2512.14480.
    """

    default_inputs = ("token_logits", "token_ids")
    optional_inputs = Loss.optional_inputs | {"mask": "padding_mask", "token_weights": "token_weights"}
    shapes = Loss.shapes | {
        "logits": "batch vocabulary",
        "token_ids": "batch length",
        "mask": "batch length",
        "token_weights": "vocabulary",
    }
    numbers = Loss.numbers | {"token_ids": "index of vocabulary or less", "token_weights": "weight"}

    def __init__(self, vocab_size=None, inputs=None, **kwargs):
        super().__init__(inputs=inputs, **kwargs)
        self.token_weights = None
        if vocab_size is not None:
            self.token_weights = self.add_weight(
                name="token_weights", shape=(vocab_size,), initializer="ones", trainable=False, autocast=False
            )

    def call(self, logits, token_ids, mask=None, token_weights=None, sample_weight=None) -> Tensor:
        logits, ids = ops.cast(logits, "float32"), ops.cast(token_ids, "int32")
        counts = ids >= 0 if mask is None else ops.logical_and(ids >= 0, ops.cast(mask, "bool"))
        ids = ops.where(counts, ids, -1)
        place = ops.arange(ops.shape(ids)[1], dtype="int32")
        before = ops.logical_and(ids[:, :, None] == ids[:, None, :], place[None, :] < place[:, None])
        first = ops.logical_and(counts, ops.logical_not(ops.any(before, axis=-1)))  # a repeated token counts once
        ids = ops.maximum(ids, 0)
        weights = self.token_weights if token_weights is None else token_weights
        weight = ops.ones_like(ids, dtype="float32") if weights is None else ops.take(ops.cast(weights, "float32"), ids)
        weight = ops.where(first, weight, 0.0)
        missing = ops.logsumexp(logits, axis=-1, keepdims=True) - ops.take_along_axis(logits, ids, axis=-1)
        per_row = ops.sum(weight * missing, axis=-1) / ops.maximum(ops.sum(weight, axis=-1), 1e-12)
        return weighted_mean(per_row, sample_weight)
