"""A differentiable top-k: the soft top-k loss of dual encoders for extreme multi-label classification."""

import keras
from keras import ops

from kzoo.arguments import POSITIVE, one_of
from kzoo.layers.numerics import l2_normalize
from kzoo.losses.base import weighted_mean
from kzoo.losses.image_text.decoupled_softmax import mean_of_positives
from kzoo.losses.parts.pairwise import PairwiseLoss, by_blocks
from kzoo.losses.parts.temperature import check_temperature, resolve_scale
from kzoo.types import Tensor

NUM_POSITIVES = "num_positives"
SATURATED = 40.0  # sigmoid(40) is 1 in float32


@keras.saving.register_keras_serializable(package="kzoo")
class SoftTopK(PairwiseLoss):
    """Every right answer must be among the first k; how they stand in there does not matter.

    With unit rows and `z_ij = <a_i, b_j> / temperature`, the threshold `t_i` lets k columns of a row in:
    `sum_j sigmoid(alpha (z_ij + t_i)) = k`. Of the positives `P_i`:
    `L = -(1/B) sum_i (1/|P_i|) sum_{p in P_i} log sigmoid(alpha (z_ip + t_i))`. `t_i` is found by bisection; its
    gradient is that of the equation that defines it.

    Args:
        k: a number above 0 and below the number of columns, or `"num_positives"`: of each row its own `|P_i|`.
        alpha: how sharp the threshold is.
        temperature: a float or a `LearnableTemperature`.
        iterations: steps of the bisection; 64 are more than float32 can tell apart.
        block_size: rows compared at a time, exact and with less memory, or `"auto"`; None: all at once.
        inputs: names of the tensors to read; default `("image_embeddings", "text_embeddings")`.

    Inputs:
        a: float tensor `(batch, dim)`, rows to label; normalised, as the other.
        b: float tensor `(labels, dim)`.
        positives: bool tensor `(batch, labels)`, True where label j is right for row i. A row without any adds 0 and
            still counts in the mean.
        sample_weight: float tensor `(batch,)`.

    Feeding:
        `DualEncoder` on pairs of a row and one of its labels, each label once, with `kzoo.data.pairs(...,
        matrices={"positives": Lookup(matrix)})` for which labels of the batch are right for which row. Or all labels,
        as they are: `constants={"text_embeddings": embeddings}` and a column `positives`.

    Returns:
        float32 scalar.

    Raises:
        ValueError: `k`, `alpha`, `iterations` or the temperature is not positive; not more columns than `k`.

    Recommendations:
        For rows with more positives than `k` the loss cannot become 0; the authors draw `k` of them, we keep all.
        `DecoupledSoftmax` for a ranking of everything.

    Example:
        >>> SoftTopK(k=1, temperature=1.0)(np.eye(2), np.eye(2), positives=np.eye(2, dtype=bool))
        0.4741

    Reference:
        Gupta et al., Dual-Encoders for Extreme Multi-Label Classification (DEXML), 2023, arXiv 2310.10636.
    """

    optional_inputs = PairwiseLoss.optional_inputs | {"positives": "positives"}
    required_inputs = ("positives",)
    shapes = PairwiseLoss.shapes | {"b": "labels dim", "positives": "batch labels"}
    arguments = {"k": POSITIVE | one_of(NUM_POSITIVES), "alpha": POSITIVE}

    def __init__(self, k=5, alpha=1.0, temperature=0.05, iterations=64, block_size=None, inputs=None, **kwargs):
        super().__init__(block_size, inputs, **kwargs)
        self.k, self.alpha, self.iterations = k, alpha, iterations
        self.temperature = check_temperature(temperature)

    def call(self, a, b, positives, sample_weight=None) -> Tensor:
        if self.k != NUM_POSITIVES and b.shape[0] is not None and self.k >= b.shape[0]:
            raise ValueError(f"SoftTopK lets k={self.k} columns in, but there are {b.shape[0]}; choose a smaller k.")
        rows = {"a": l2_normalize(a), "positive": ops.cast(positives, "bool")}
        columns = {"b": l2_normalize(b), "scale": resolve_scale(self.temperature)}

        def within(i, real, rows, columns):
            z = ops.matmul(self.alpha * columns["scale"] * rows["a"], ops.transpose(columns["b"]))  # (rows, labels)
            positive = rows["positive"]
            if self.k == NUM_POSITIVES:
                k = ops.sum(ops.cast(positive, "float32"), axis=1, keepdims=True)
            else:
                k = ops.full((ops.shape(z)[0], 1), float(self.k))
            return {"value": mean_of_positives(ops.softplus(-z - _threshold(z, k, self.iterations)), positive)}, {}

        of_rows, _ = by_blocks(within, rows, columns, self.block_size)
        return weighted_mean(of_rows["value"], sample_weight)


def _threshold(z, k, iterations):
    """`t` `(rows, 1)` with `sum_j sigmoid(z_ij + t_i) = k_i`, and its gradient `-v_ij / sum_j v_ij`, `v = sigmoid'`."""
    fixed = ops.stop_gradient(z)

    def halve(_, bracket):
        low, high = bracket
        middle = 0.5 * (low + high)
        few = ops.sum(ops.sigmoid(fixed + middle), axis=1, keepdims=True) < k
        return ops.where(few, middle, low), ops.where(few, high, middle)

    low = -ops.max(fixed, axis=1, keepdims=True) - SATURATED
    high = -ops.min(fixed, axis=1, keepdims=True) + SATURATED
    low, high = ops.fori_loop(0, iterations, halve, (low, high))
    t = ops.stop_gradient(0.5 * (low + high))
    # 1 - sigmoid would be 0 where the sigmoid rounds to 1
    slope = ops.sum(ops.sigmoid(fixed + t) * ops.sigmoid(-fixed - t), axis=1, keepdims=True)
    let_in = ops.sum(ops.sigmoid(z + t), axis=1, keepdims=True)
    # a Newton step of length 0: the value stays, the gradient is that of the equation
    return t - (let_in - ops.stop_gradient(let_in)) / ops.maximum(slope, 1e-30)
