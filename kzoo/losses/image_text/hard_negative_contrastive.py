"""NegCLIP's loss: InfoNCE whose images also have to turn down rewritten captions."""

import keras
from keras import ops

from kzoo.arguments import one_of
from kzoo.layers.numerics import l2_normalize
from kzoo.losses.base import weighted_mean
from kzoo.losses.parts.pairwise import PairwiseLoss, Tile, cross_entropies, mean_of_directions
from kzoo.losses.parts.temperature import check_temperature, resolve_scale
from kzoo.types import Tensor

SCOPES = ("batch", "own")


@keras.saving.register_keras_serializable(package="kzoo")
class HardNegativeContrastive(PairwiseLoss):
    """InfoNCE in which each image also chooses against captions that were rewritten to be wrong.

    With unit rows and `z = <a_i, .> / temperature`: an image finds `b_i` among all `b` and the hard negatives, a
    caption finds its image among all images: `L = (1/2B) sum_i [ LSE(z_i of b, n) - z_ii + LSE_j z_ji - z_ii ]`.

    Args:
        temperature: a float, a `LearnableTemperature`, or None: the similarity head of the model that the loss is
            attached to, 0.07 when called alone.
        scope: `"batch"`, an image meets the hard negatives of every caption; `"own"`, those of its own caption only.
        block_size: rows compared at a time, exact and with less memory, or `"auto"`; None: all at once.
        inputs: names of the tensors to read; default `("image_embeddings", "text_embeddings")`.

    Inputs:
        a, b: float tensors `(batch, dim)`; they are normalised.
        negatives: float tensor `(batch, count, dim)`, captions that are nearly those of `b`: words swapped, another
            attribute. A `DualEncoder` makes it of `negative_token_ids`, see `Preprocessor.encode_negatives`.
        mask: bool tensor `(batch, count)` (`negatives_mask` of the batch), True where a negative is there; default
            all.
        sample_weight: float tensor `(batch,)`; a row of weight 0 still serves as a negative.
        scale: scalar, the model's own `1 / temperature`; read only when `temperature` is None.

    Feeding:
        `DualEncoder` and `kzoo.data.pairs(source, preprocessor)` with a column or an entry `negatives`, a list of texts
        for each pair: they are the bag `negative_token_ids`, which the text tower reads.

    Returns:
        float32 scalar, never below `InfoNCE` of the same pairs and equal to it without negatives.

    Raises:
        ValueError: unknown scope, bad temperature, `negatives` is not `(batch, count, dim)`.

    Recommendations:
        Hard images are no term of it: append the image of a near neighbour with its caption and its swapped caption to
        the batch. `DecoupledGlobalLocal` adds terms that keep what the model knew before.

    Example:
        >>> HardNegativeContrastive()(np.eye(4), np.eye(4), negatives=np.eye(4)[:, None])
        0.3466

    Reference:
        Yuksekgonul et al., When and why vision-language models behave like bags-of-words (NegCLIP), 2022, arXiv
        2210.01936 (number from memory).
    """

    optional_inputs = PairwiseLoss.optional_inputs | {
        "negatives": "negative_text_embeddings",
        "mask": "negatives_mask",
        "scale": "logit_scale",
    }
    required_inputs = ("negatives",)
    shapes = PairwiseLoss.shapes | {"negatives": "batch count dim", "mask": "batch count"}
    arguments = {"scope": one_of(*SCOPES)}

    def __init__(self, temperature=None, scope="batch", block_size=None, inputs=None, **kwargs):
        super().__init__(block_size, inputs, **kwargs)
        self.temperature, self.scope = check_temperature(temperature), scope

    def call(self, a, b, negatives, mask=None, sample_weight=None, scale=None) -> Tensor:
        there = ops.ones(ops.shape(negatives)[:2], "bool") if mask is None else ops.cast(mask, "bool")
        hard = {"negatives": l2_normalize(negatives), "there": there}
        a, b = resolve_scale(self.temperature, scale) * l2_normalize(a), l2_normalize(b)
        rows, columns = {"a": a}, {"b": b}
        if self.scope == "own":
            rows |= hard
        else:
            dim = negatives.shape[-1]
            columns |= {"negatives": ops.reshape(hard["negatives"], (-1, dim)), "there": ops.reshape(there, (-1,))}

        def tile(i, j, rows, columns):
            if self.scope == "own":
                of_negatives = ops.sum(rows["a"][:, None] * rows["negatives"], axis=-1)  # (rows, count)
                there = rows["there"]
            else:
                of_negatives = ops.matmul(rows["a"], ops.transpose(columns["negatives"]))  # (rows, batch * count)
                there = ops.broadcast_to(columns["there"][None], ops.shape(of_negatives))
            of_captions = ops.matmul(rows["a"], ops.transpose(columns["b"]))  # (rows, batch)
            keep = ops.concatenate([ops.ones_like(of_captions, dtype="bool"), there], axis=1)
            return Tile(ops.concatenate([of_captions, of_negatives], axis=1), keep=keep)

        own = ops.sum(a * b, axis=-1)  # no image is right for a hard negative: its own direction adds nothing
        per_row = cross_entropies(tile, rows, columns, "both", self.block_size, own)
        return weighted_mean(mean_of_directions(*per_row), sample_weight)
