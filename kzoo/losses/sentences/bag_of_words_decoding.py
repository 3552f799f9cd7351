"""The bag-of-words half of DupMAE."""

import keras
from keras import ops

from kzoo.layers.numerics import NEGATIVE
from kzoo.losses.base import Loss
from kzoo.losses.parts.anchors import mean_of_anchors
from kzoo.types import Tensor


@keras.saving.register_keras_serializable(package="kzoo")
class BagOfWordsDecoding(Loss):
    """The strongest logit of each word over a text's tokens must tell which words the text has.

    With `v_w = max_t z_tw` over the real tokens: `L = -(1/B) sum_b sum_w bag_bw log softmax(v_b)_w`. Texts without a
    token or without a word in their bag do not count in the mean (our choice).

    Args:
        inputs: names of the tensors to read; default `("view_1_token_logits", "bag")`.

    Inputs:
        token_logits: float tensor `(batch, length, vocabulary)`, without the position of the class token.
        bag: float tensor `(batch, vocabulary)`, `1 / n` on each of the n different content words of the text,
            without special tokens and stop words.
        mask: bool tensor `(batch, length)`, True on real tokens; default all are.
        sample_weight: float tensor `(batch,)`.

    Feeding:
        `SelfSupervised(text_encoder, heads=[Head(Classifier(vocab_size), "*_tokens", "*_token_logits")])` and
        `kzoo.data.text_views(texts, preprocessor, views=1, bag=BagOfWords(preprocessor.tokenizer))`.

    Returns:
        float32 scalar. `ln(vocabulary)` for equal logits, 0 where no text counts.

    Recommendations:
        Beside the masked language models of encoder and decoder (`kzoo.layers.SentenceDecoder`), with a weight of 0.1.

    Example:
        >>> BagOfWordsDecoding()(np.zeros((1, 3, 8)), np.eye(8)[:1])
        2.0794

    Reference:
        Xiao and Liu, RetroMAE v2: Duplex Masked Auto-Encoder, 2022, arXiv 2211.08769.
    """

    default_inputs = ("view_1_token_logits", "bag")
    optional_inputs = Loss.optional_inputs | {"mask": "view_1_token_mask"}
    shapes = Loss.shapes | {
        "token_logits": "batch length vocabulary",
        "bag": "batch vocabulary",
        "mask": "batch length",
    }

    def call(self, token_logits, bag, mask=None, sample_weight=None) -> Tensor:
        z, bag = ops.cast(token_logits, "float32"), ops.cast(bag, "float32")
        counts = ops.any(bag > 0.0, axis=1)
        if mask is not None:
            real = ops.cast(mask, "bool")
            counts = ops.logical_and(counts, ops.any(real, axis=1))
            z = ops.where(real[:, :, None], z, NEGATIVE)
        v = ops.where(counts[:, None], ops.max(z, axis=1), 0.0)  # (batch, vocabulary)
        per_row = -ops.sum(bag * (v - ops.logsumexp(v, axis=1, keepdims=True)), axis=1)
        return mean_of_anchors(per_row, counts, sample_weight)
