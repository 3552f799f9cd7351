"""InfoNCE of several heads with temperatures that a network gives (AMCL)."""

import keras
from keras import ops

from kzoo.layers.numerics import l2_normalize
from kzoo.losses.base import weighted_mean
from kzoo.losses.parts.pairwise import PairwiseLoss, Tile, by_blocks, cross_entropies, mean_of_directions, same
from kzoo.types import Tensor


@keras.saving.register_keras_serializable(package="kzoo")
class AdaptiveMultiHead(PairwiseLoss):
    """InfoNCE averaged over several heads, each with temperatures of its own that a network predicts.

    With unit rows of head `c` and `z^c_ij = <a^c_i, b^c_j> / tau^c_ij`: `L = mean_c [ mean of the cross-entropies of
    z^c over rows and over columns ] + beta mean_cij [ (D / 2) ln tau + 1 / tau ]`. The second term keeps temperatures
    away from 0 and from infinity. Inspired by AMCL; that heads are averaged is our choice, and what predicts the
    temperatures belongs to the model.

    Args:
        beta: weight of the term on the temperatures; 0.1 in the authors' code.
        bounds: lowest and highest temperature `(l, h)` of pairs whose temperature is made of factors,
            `l + (h - l) sigmoid(<f_i, g_j>)`; the authors have `(1e-5, 2.0)`. None: temperatures are given.
        block_size: rows compared at a time, exact and with less memory, or `"auto"`; None: all at once.
        inputs: names of the tensors to read; default `("image_heads", "text_heads")`.

    Inputs:
        a, b: float tensors `(batch, heads, dim)`; row i of `a` belongs to row i of `b`. They are normalised.
        temperatures: positive float tensor `(heads, batch, batch)`, one for each pair, or `(heads,)`. Gradients reach
            the network that made it. Only without `bounds`.
        a_factors, b_factors: float tensors `(batch, heads, any)`, `f` and `g` above; only with `bounds`. No matrix over
            the pairs is held then, but in the loss and by `block_size`.
        sample_weight: float tensor `(batch,)`, of the cross-entropies; a row of weight 0 still serves as a negative.

    Feeding:
        `DualEncoder(..., heads=[Head(MultiHeadProjector(3, (512, 128)), "*_features", "*_heads"),
        Head(TemperatureFactors(), "*_heads", "*_temperature_factors")])` and `AdaptiveMultiHead(bounds=(1e-5, 2.0))`,
        on any pairs.

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

    default_inputs = ("image_heads", "text_heads")
    optional_inputs = PairwiseLoss.optional_inputs | {
        "temperatures": "temperatures",
        "a_factors": "image_temperature_factors",
        "b_factors": "text_temperature_factors",
    }
    required_inputs = ("temperatures",)  # of a loss with bounds both factors
    shapes = PairwiseLoss.shapes | {
        "a": "batch heads dim",
        "b": "batch heads dim",
        "temperatures": "heads | heads batch batch",
        "a_factors": "batch heads factors",
        "b_factors": "batch heads factors",
    }

    def __init__(self, beta=0.0, bounds=None, block_size=None, inputs=None, **kwargs):
        super().__init__(block_size, inputs, **kwargs)
        self.beta, self.bounds = beta, bounds
        if bounds is not None:
            low, high = bounds
            if not 0.0 < low < high:
                raise ValueError(f"bounds are {bounds}; give two temperatures above 0, the lower one first.")
            self.required_inputs = ("a_factors", "b_factors")

    def call(self, a, b, temperatures=None, a_factors=None, b_factors=None, sample_weight=None) -> Tensor:
        given = (temperatures,) if self.bounds is None else (a_factors, b_factors)
        given = [ops.cast(each, "float32") for each in given]
        a, b = l2_normalize(a), l2_normalize(b)
        of_heads = [
            self._of_head(a[:, head], b[:, head], *self._temperatures(head, *given)) for head in range(a.shape[1])
        ]
        per_row, penalty = (sum(each) / len(of_heads) for each in zip(*of_heads))
        return weighted_mean(per_row, sample_weight) + self.beta * penalty

    def _of_head(self, a, b, rows, columns, of_pairs):
        """The value of each row, and the mean cost of the temperatures."""

        def tile(i, j, rows, columns):
            z = ops.matmul(rows["a"], ops.transpose(columns["b"]))
            return Tile(z / of_pairs(rows, columns), same(i, j))

        def cost(i, real, rows, columns):
            tau = of_pairs(rows, columns)
            return {"mean": ops.mean(0.5 * a.shape[-1] * ops.log(tau) + 1.0 / tau, axis=1)}, {}

        rows, columns = {"a": a} | rows, {"b": b} | columns
        per_row = mean_of_directions(*cross_entropies(tile, rows, columns, "both", self.block_size))
        penalty = ops.mean(by_blocks(cost, rows, columns, self.block_size)[0]["mean"]) if self.beta else 0.0
        return per_row, penalty

    def _temperatures(self, head, given, other=None):
        """Rows, columns, and what a block of them makes of a head's temperatures: `(R, B)`, or `(R, 1)`."""
        if other is not None:
            return {"f": given[:, head]}, {"g": other[:, head]}, self._of_factors
        if len(given.shape) == 1:
            return {}, {"tau": given[head]}, _of_all
        return {"tau": given[head]}, {}, _of_rows

    def _of_factors(self, rows, columns):
        low, high = self.bounds
        return low + (high - low) * ops.sigmoid(ops.matmul(rows["f"], ops.transpose(columns["g"])))


def _of_all(rows, columns):
    return columns["tau"] * ops.ones_like(rows["a"][:, :1])


def _of_rows(rows, columns):
    return ops.where(rows["tau"] > 0.0, rows["tau"], 1.0)  # 0 in rows that fill up a block, and are nobody's
