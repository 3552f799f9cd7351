"""InfoNCE of several heads with temperatures that a network gives (AMCL)."""

import keras
from keras import ops

from kzoo.layers.numerics import l2_normalize
from kzoo.losses.base import weighted_mean
from kzoo.losses.parts.pairwise import (
    PairwiseLoss,
    Tile,
    by_blocks,
    cross_entropies,
    mean_of_directions,
    same,
)


@keras.saving.register_keras_serializable(package="kzoo")
class AdaptiveMultiHead(PairwiseLoss):
    """InfoNCE averaged over several heads, each with temperatures of its own that a network predicts.

    With unit rows of head `c` and `z^c_ij = <a^c_i, b^c_j> / tau^c_ij`: `L = mean_c [ mean of the cross-entropies of
    z^c over rows and over columns ] + beta mean_cij [ (D / 2) ln tau + 1 / tau ]`. The second term keeps temperatures
    away from 0 and from infinity. Inspired by AMCL; that heads are averaged is our choice, and what predicts the
    temperatures belongs to the model. It gives them, or, with `bounds`, a factor of each row, of which the loss makes
    those of pairs: `tau^c_ij = lower + (upper - lower) sigmoid(<phi^c_i, phi^c_j>)`.

    Args:
        beta: weight of the term on the temperatures; 0.1 in the authors' code.
        bounds: `(lower, upper)` of temperatures that are made of factors, (1e-5, 2.0) in the authors' code; None: they
            are given as they are.
        block_size: rows compared at a time, exact and with less memory; None: all at once.
        inputs: names of the tensors to read; default `("image_embeddings", "text_embeddings")`.

    Inputs:
        a, b: float tensors `(batch, heads, dim)`; row i of `a` belongs to row i of `b`. They are normalised.
        temperatures: positive float tensor `(heads, batch, batch)`, one for each pair, or `(heads,)`. Gradients reach
            the network that made it. Read without `bounds`.
        a_factors, b_factors: float tensors `(batch, heads, any)`, which the head `kzoo.layers.TemperatureFactors` makes
            of `a` and `b`. Read with `bounds`.
        sample_weight: float tensor `(batch,)`, of the cross-entropies; a row of weight 0 still serves as a negative.

    Returns:
        float32 scalar; that of `InfoNCE` for one head, one temperature and `beta=0`.

    Raises:
        ValueError: inputs of another rank, temperatures of another number of heads, bounds that are not in order.

    Recommendations:
        Several augmentations that call for several notions of similarity. One temperature that is learned is
        `InfoNCE(temperature=LearnableTemperature())`, one for each row `IndividualTemperature`.

    Example:
        >>> AdaptiveMultiHead()(np.eye(4)[:, None], np.eye(4)[:, None], temperatures=np.array([0.5]))
        0.3408
        >>> heads = [Head(MultiHeadProjector(3, (512, 128)), "*_features", "*_heads"),
        ...          Head(TemperatureFactors(16), "*_heads", "*_temperature_factors")]
        >>> loss = AdaptiveMultiHead(beta=0.1, bounds=(1e-5, 2.0), inputs=("image_heads", "text_heads"))

    Reference:
        Wang et al., Adaptive Multi-head Contrastive Learning, 2023, arXiv 2310.05615.
    """

    optional_inputs = PairwiseLoss.optional_inputs | {
        "temperatures": "temperatures",
        "a_factors": "image_temperature_factors",
        "b_factors": "text_temperature_factors",
    }
    required_inputs = ("temperatures",)
    shapes = PairwiseLoss.shapes | {
        "a": "batch heads dim",
        "b": "batch heads dim",
        "temperatures": "heads | heads batch batch",
        "a_factors": "batch heads factors",
        "b_factors": "batch heads factors",
    }

    def __init__(self, beta=0.0, bounds=None, block_size=None, inputs=None, **kwargs):
        super().__init__(block_size, inputs, **kwargs)
        if bounds is not None and not 0.0 < bounds[0] < bounds[1]:
            raise ValueError(f"bounds are {tuple(bounds)}; give two positive numbers, the lower one first.")
        self.beta, self.bounds = beta, bounds
        factors = ("a_factors", "b_factors")
        unread = factors if bounds is None else ("temperatures",)
        self.required_inputs = self.required_inputs if bounds is None else factors
        self.optional_names = {key: name for key, name in self.optional_names.items() if key not in unread}

    def call(self, a, b, temperatures=None, a_factors=None, b_factors=None, sample_weight=None):
        heads, dim = a.shape[1:]
        a, b = l2_normalize(a), l2_normalize(b)

        def tile(i, j, rows, columns):
            scale = 1.0 / self._made(rows, columns) if self.bounds else (rows | columns)["scale"]
            return Tile(scale * ops.matmul(rows["a"], ops.transpose(columns["b"])), same(i, j))

        def penalty(i, real, rows, columns):
            return {"value": ops.mean(_penalty(self._made(rows, columns), dim), axis=1)}, {}

        per_row, penalties = 0.0, []
        for head in range(heads):
            rows, columns = {"a": a[:, head]}, {"b": b[:, head]}
            if self.bounds:
                factors = {"factors": a_factors[:, head]}, {"factors": b_factors[:, head]}
                rows, columns = rows | factors[0], columns | factors[1]
                if self.beta:
                    penalties.append(by_blocks(penalty, *factors, self.block_size)[0]["value"])
            else:
                # its rows that fill up a block are 0 without harm
                scale = {"scale": 1.0 / ops.cast(temperatures[head], "float32")}
                rows, columns = (rows | scale, columns) if len(temperatures.shape) == 3 else (rows, columns | scale)
            per_row += mean_of_directions(*cross_entropies(tile, rows, columns, "both", self.block_size))
        loss = weighted_mean(per_row / heads, sample_weight)
        if self.beta:
            values = ops.stack(penalties) if self.bounds else _penalty(ops.cast(temperatures, "float32"), dim)
            loss = loss + self.beta * ops.mean(values)
        return loss

    def _made(self, rows, columns):
        """The temperatures of the pairs of a block, of their factors."""
        lower, upper = self.bounds
        rows, columns = ops.cast(rows["factors"], "float32"), ops.cast(columns["factors"], "float32")
        return lower + (upper - lower) * ops.sigmoid(ops.matmul(rows, ops.transpose(columns)))


def _penalty(temperatures, dim):
    return 0.5 * dim * ops.log(temperatures) + 1.0 / temperatures
