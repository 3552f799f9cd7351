"""InfoNCE of several heads with temperatures that a network gives (AMCL)."""

import keras
from keras import ops

from kzoo.layers.numerics import l2_normalize
from kzoo.losses.base import weighted_mean
from kzoo.losses.parts.pairwise import PairwiseLoss, Tile, cross_entropies, mean_of_directions, same


@keras.saving.register_keras_serializable(package="kzoo")
class AdaptiveMultiHead(PairwiseLoss):
    """InfoNCE averaged over several heads, each with temperatures of its own that a network predicts.

    With unit rows of head `c` and `z^c_ij = <a^c_i, b^c_j> / tau^c_ij`: `L = mean_c [ mean of the cross-entropies of
    z^c over rows and over columns ] + beta mean_cij [ (D / 2) ln tau + 1 / tau ]`. The second term keeps temperatures
    away from 0 and from infinity. Inspired by AMCL; that heads are averaged is our choice, and what predicts the
    temperatures belongs to the model.

    Args:
        beta: weight of the term on the temperatures; 0.1 in the authors' code.
        block_size: rows compared at a time, exact and with less memory; None: all at once.
        inputs: names of the tensors to read; default `("image_embeddings", "text_embeddings")`.

    Inputs:
        a, b: float tensors `(batch, heads, dim)`; row i of `a` belongs to row i of `b`. They are normalised.
        temperatures: positive float tensor `(heads, batch, batch)`, one for each pair, or `(heads,)`. Gradients reach
            the network that made it.
        sample_weight: float tensor `(batch,)`, of the cross-entropies; a row of weight 0 still serves as a negative.

    Returns:
        float32 scalar; that of `InfoNCE` for one head, one temperature and `beta=0`.

    Raises:
        ValueError: inputs of another rank, temperatures of another number of heads.

    Recommendations:
        Several augmentations that call for several notions of similarity. One temperature that is learned is
        `InfoNCE(temperature=LearnableTemperature())`, one for each row `IndividualTemperature`.

    Example:
        >>> AdaptiveMultiHead()(np.eye(4)[:, None], np.eye(4)[:, None], temperatures=np.array([0.5]))
        0.3408

    Reference:
        Wang et al., Adaptive Multi-head Contrastive Learning, 2023, arXiv 2310.05615.
    """

    optional_inputs = PairwiseLoss.optional_inputs | {"temperatures": "temperatures"}
    required_inputs = ("temperatures",)
    shapes = PairwiseLoss.shapes | {
        "a": "batch heads dim",
        "b": "batch heads dim",
        "temperatures": "heads | heads batch batch",
    }

    def __init__(self, beta=0.0, block_size=None, inputs=None, **kwargs):
        super().__init__(block_size, inputs, **kwargs)
        self.beta = beta

    def call(self, a, b, temperatures, sample_weight=None):
        heads, dim = a.shape[1:]
        of_pairs = len(temperatures.shape) == 3
        a, b, temperatures = l2_normalize(a), l2_normalize(b), ops.cast(temperatures, "float32")

        def tile(i, j, rows, columns):
            scale = rows["scale"] if of_pairs else columns["scale"]
            return Tile(scale * ops.matmul(rows["a"], ops.transpose(columns["b"])), same(i, j))

        per_row = 0.0
        for head in range(heads):
            scale = {"scale": 1.0 / temperatures[head]}  # its rows that fill up a block are 0 without harm
            rows, columns = {"a": a[:, head]}, {"b": b[:, head]}
            rows, columns = (rows | scale, columns) if of_pairs else (rows, columns | scale)
            per_row += mean_of_directions(*cross_entropies(tile, rows, columns, "both", self.block_size))
        loss = weighted_mean(per_row / heads, sample_weight)
        if self.beta:
            penalty = 0.5 * dim * ops.log(temperatures) + 1.0 / temperatures
            loss = loss + self.beta * ops.mean(penalty)
        return loss
