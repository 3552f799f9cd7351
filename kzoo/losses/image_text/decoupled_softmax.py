"""The decoupled softmax of dual encoders for extreme multi-label classification."""

import keras
from keras import ops

from kzoo.layers.numerics import l2_normalize
from kzoo.losses.base import weighted_mean
from kzoo.losses.parts.anchors import masked_log_sum
from kzoo.losses.parts.pairwise import PairwiseLoss, by_blocks
from kzoo.losses.parts.temperature import check_temperature, resolve_scale
from kzoo.types import Tensor


@keras.saving.register_keras_serializable(package="kzoo")
class DecoupledSoftmax(PairwiseLoss):
    """Softmax for rows with several right answers, in which these do not compete with each other.

    With unit rows, `z_ij = <a_i, b_j> / temperature`, positives `P_i` and all other columns `N_i`:
    `L = (1/B) sum_i (1/|P_i|) sum_{p in P_i} [ log(e^z_ip + sum_{n in N_i} e^z_in) - z_ip ]`.

    Args:
        temperature: a float or a `LearnableTemperature`.
        block_size: rows compared at a time, exact and with less memory, or `"auto"`; None: all at once.
        inputs: names of the tensors to read; default `("image_embeddings", "text_embeddings")`.

    Inputs:
        a: float tensor `(batch, dim)`, rows to label; normalised, as the other.
        b: float tensor `(labels, dim)`.
        positives: bool tensor `(batch, labels)`, True where label j is right for row i. Any number in a row; a row
            without any adds 0 and still counts in the mean.
        sample_weight: float tensor `(batch,)`.

    Feeding:
        `DualEncoder` on pairs of a row and one of its labels, each label once, with `kzoo.data.pairs(...,
        matrices={"positives": Lookup(matrix)})` for which labels of the batch are right for which row. Or all labels,
        as they are: `constants={"text_embeddings": embeddings}` and a column `positives`.

    Returns:
        float32 scalar; `InfoNCE(direction="a_to_b")` where each row has one positive, 0 where all columns are.

    Raises:
        ValueError: bad temperature.

    Recommendations:
        Where the first few answers matter and not the order behind them: `SoftTopK`. `UnifiedContrastive` splits one
        softmax among the positives instead, so that a row can never be sure of all of them.

    Example:
        >>> DecoupledSoftmax(temperature=1.0)(np.eye(2), np.eye(2), positives=np.eye(2, dtype=bool))
        0.3133

    Reference:
        Gupta et al., Dual-Encoders for Extreme Multi-Label Classification (DEXML), 2023, arXiv 2310.10636.
    """

    optional_inputs = PairwiseLoss.optional_inputs | {"positives": "positives"}
    required_inputs = ("positives",)
    shapes = PairwiseLoss.shapes | {"b": "labels dim", "positives": "batch labels"}

    def __init__(self, temperature=0.05, block_size=None, inputs=None, **kwargs):
        super().__init__(block_size, inputs, **kwargs)
        self.temperature = check_temperature(temperature)

    def call(self, a, b, positives, sample_weight=None) -> Tensor:
        rows = {"a": l2_normalize(a), "positive": ops.cast(positives, "bool")}
        columns = {"b": l2_normalize(b), "scale": resolve_scale(self.temperature)}

        def softmaxes(i, real, rows, columns):
            z = ops.matmul(columns["scale"] * rows["a"], ops.transpose(columns["b"]))  # (rows, labels)
            positive = rows["positive"]
            log_negatives = masked_log_sum(z, ops.logical_not(positive))[:, None]
            return {"value": mean_of_positives(ops.softplus(log_negatives - z), positive)}, {}

        of_rows, _ = by_blocks(softmaxes, rows, columns, self.block_size)
        return weighted_mean(of_rows["value"], sample_weight)


def mean_of_positives(values, positive) -> Tensor:
    """Mean of `values` `(rows, columns)` where `positive`, `(rows,)`; 0 for a row without any."""
    count = ops.sum(ops.cast(positive, "float32"), axis=1)
    return ops.sum(ops.where(positive, values, 0.0), axis=1) / ops.maximum(count, 1.0)
