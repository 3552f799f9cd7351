"""The contrastive term of cMIM."""

import keras
from keras import ops

from kzoo.layers.numerics import l2_normalize
from kzoo.losses.base import weighted_mean
from kzoo.losses.parts.pairwise import PairwiseLoss, Tile, cross_entropies, same
from kzoo.losses.parts.temperature import check_temperature, resolve_scale
from kzoo.types import Tensor


@keras.saving.register_keras_serializable(package="kzoo")
class ContrastiveMIM(PairwiseLoss):
    """Each code must find its own hidden state against the mean of the others, whatever the size of the batch.

    With unit rows and `s_ij = <z_i, h_j> / temperature`:
    `L = -(1/B) sum_i log( e^{s_ii} / (e^{s_ii} + mean_{j != i} e^{s_ij}) )`. From memory of the paper.

    Args:
        temperature: a float or a `LearnableTemperature`.
        block_size: rows compared at a time, exact and with less memory, or `"auto"`; None: all at once.
        inputs: names of the tensors to read; default `("hidden_states", "image_features")`.

    Inputs:
        h: float tensor `(batch, dim)`, hidden states of the decoder: the choices.
        z: float tensor `(batch, dim)`, codes: the anchors. Any length, both are normalised.
        sample_weight: float tensor `(batch,)`; a row of weight 0 still serves as a negative.

    Feeding:
        `DualEncoder(..., heads=[Head(CodeDecoder(embed_dim, (patches, values)), "image_features", ("hidden_states",
        "prediction"))])`, where `embed_dim` is that of the tower.

    Returns:
        float32 scalar. `ln 2` when all embeddings are equal, for every batch; 0 for a batch of one.

    Raises:
        ValueError: bad temperature.

    Recommendations:
        Goes with a reconstruction and a prior, which are not part of it. Where batches are of one size, `InfoNCE` in
        direction `"a_to_b"` sets the same task, harder with more negatives.

    Example:
        >>> ContrastiveMIM(temperature=1.0)(np.eye(4), np.eye(4))
        0.3133

    Reference:
        Livne, cMIM: A Contrastive Mutual Information Framework for Unified Generative and Discriminative
        Representation Learning, 2025, arXiv 2502.19642.
    """

    default_inputs = ("hidden_states", "image_features")
    shapes = PairwiseLoss.shapes | {"h": "batch dim", "z": "batch dim"}

    def __init__(self, temperature=0.1, block_size=None, inputs=None, **kwargs):
        super().__init__(block_size, inputs, **kwargs)
        self.temperature = check_temperature(temperature)

    def call(self, h, z, sample_weight=None) -> Tensor:
        others = ops.cast(ops.maximum(ops.shape(z)[0] - 1, 1), "float32")

        def tile(i, j, rows, columns):
            s = ops.matmul(columns["scale"] * rows["z"], ops.transpose(columns["h"]))
            own = same(i, j)
            return Tile(s, own, log_weight=(own - 1.0) * ops.log(others))  # the sum over the others as their mean

        columns = {"h": l2_normalize(h), "scale": resolve_scale(self.temperature)}
        per_row, _ = cross_entropies(tile, {"z": l2_normalize(z)}, columns, "a_to_b", self.block_size)
        return weighted_mean(per_row, sample_weight)
