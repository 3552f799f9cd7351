"""SimCTG: tokens of a text that do not resemble each other."""

import keras
from keras import ops

from kzoo.arguments import number
from kzoo.layers.numerics import l2_normalize
from kzoo.losses.base import Loss, weighted_mean
from kzoo.losses.parts.pairwise import same
from kzoo.types import Tensor


@keras.saving.register_keras_serializable(package="kzoo")
class SimCTG(Loss):
    """States of different tokens of a text are pushed apart until their cosines are below `1 - margin`.

    Over all ordered pairs i != j of real tokens of one sequence, `L = mean max(0, margin - 1 + cos(h_i, h_j))`: the
    sum over the whole batch by the number of pairs in it, so that long texts count for more.

    Args:
        margin: in [0, 2]; at 0 nothing is pushed apart.
        inputs: names of the tensors to read; default `("caption_states",)`.

    Inputs:
        hidden: float tensor `(batch, length, dim)`, the last states of a language model. They are normalised.
        mask: bool tensor `(batch, length)`, True on real tokens; default all are.
        sample_weight: float tensor `(batch,)`, multiplies the pairs of a sequence.

    Feeding:
        `Captioner`, whose decoder's states it reads, and any pairs.

    Returns:
        float32 scalar. `margin` when all states of a text are equal, 0 without a pair of tokens.

    Raises:
        ValueError: a margin outside of [0, 2].

    Recommendations:
        Beside the loss of the next token, `Captioning() + SimCTG()`: alone it does not learn language. It makes
        contrastive search work, which needs tokens that differ.

    Example:
        >>> SimCTG(margin=0.5)(np.ones((1, 3, 2)))
        0.5

    Reference:
        Su et al., A Contrastive Framework for Neural Text Generation, 2022, arXiv 2202.06417.
    """

    default_inputs = ("caption_states",)
    optional_inputs = Loss.optional_inputs | {"mask": "caption_mask"}
    shapes = Loss.shapes | {"hidden": "batch length dim", "mask": "batch length"}
    arguments = {"margin": number(least=0, most=2)}

    def __init__(self, margin=0.5, inputs=None, **kwargs):
        super().__init__(inputs=inputs, **kwargs)
        self.margin = margin

    def call(self, hidden, mask=None, sample_weight=None) -> Tensor:
        h = l2_normalize(hidden)
        cosines = ops.matmul(h, ops.transpose(h, (0, 2, 1)))  # (batch, length, length)
        real = ops.ones(ops.shape(hidden)[:2]) if mask is None else ops.cast(mask, "float32")
        i = ops.arange(ops.shape(hidden)[1], dtype="int32")
        counts = real[:, :, None] * real[:, None, :] * (1.0 - same(i, i))
        if sample_weight is not None:
            counts = counts * ops.cast(sample_weight, "float32")[:, None, None]
        return weighted_mean(ops.relu(self.margin - 1.0 + cosines), counts)
