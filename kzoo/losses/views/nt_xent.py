"""NT-Xent, the loss of SimCLR."""

import keras
from keras import ops

from kzoo.losses.base import weighted_mean
from kzoo.losses.parts.pairwise import PairwiseLoss, Tile, cross_entropies
from kzoo.losses.parts.products import unit_rows
from kzoo.losses.parts.temperature import check_temperature, resolve_scale
from kzoo.types import Tensor


@keras.saving.register_keras_serializable(package="kzoo")
class NTXent(PairwiseLoss):
    """Each of the two views of a sample must find the other among all views of the batch but itself.

    With the unit rows `Z = [a; b]`, 2B of them, `z_ij = <Z_i, Z_j> / temperature` and `p(i)` the other view of i:
    `L = (1/2B) sum_i [ LSE_{j != i} z_ij - z_{i p(i)} ]`.

    Args:
        temperature: a float or a `LearnableTemperature`.
        block_size: anchors compared at a time, exact and with less memory, or `"auto"`; None: all at once.
        inputs: names of the tensors to read; default `("view_1", "view_2")`.

    Inputs:
        a, b: float tensors `(batch, dim)`, two views of the same samples. Any length, they are normalised.
        sample_weight: float tensor `(batch,)`, weighs both anchors of a sample; one of weight 0 still serves as a
            negative.

    Returns:
        float32 scalar. `ln(2 batch - 1)` when all embeddings are equal, 0 for a batch of one.

    Raises:
        ValueError: bad temperature.

    Recommendations:
        `DecoupledContrastive` learns better from batches below a few hundred. For pairs of two modalities
        `InfoNCE` compares across them only.

    Example:
        >>> NTXent(temperature=0.5)(np.eye(4), np.eye(4))
        0.5944

    Reference:
        Chen et al., SimCLR, 2020, arXiv 2002.05709. G-SimCLR (Chakraborty et al., 2020, arXiv 2009.12007) is this loss
        on batches without two samples of one cluster.
    """

    default_inputs = ("view_1", "view_2")

    def __init__(self, temperature=0.1, block_size=None, inputs=None, **kwargs):
        super().__init__(block_size, inputs, **kwargs)
        self.temperature = check_temperature(temperature)

    def pairs(self, batch_size) -> tuple:
        return 2 * batch_size, 2 * batch_size

    def negatives(self, batch_size) -> int:
        return 2 * batch_size - 2

    def call(self, a, b, sample_weight=None) -> Tensor:
        views = unit_rows(ops.concatenate([a, b]))  # (2 batch, dim)
        anchors = resolve_scale(self.temperature) * views

        def tile(i, j, rows, columns):
            return Tile(keep=ops.not_equal(i[:, None], j[None, :]))

        own = ops.sum(anchors * ops.roll(views, ops.shape(a)[0], axis=0), axis=-1)  # with the other view
        rows, columns = {"anchor": anchors}, {"view": views}
        product = ("anchor", "view")
        of_anchors, _ = cross_entropies(tile, rows, columns, "a_to_b", self.block_size, own, product=product)
        return weighted_mean(ops.mean(ops.reshape(of_anchors, (2, -1)), axis=0), sample_weight)
