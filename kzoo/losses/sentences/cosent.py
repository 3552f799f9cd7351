"""CoSENT, the ranking loss of graded sentence pairs."""

import keras
from keras import ops

from kzoo.losses.parts.anchors import masked_log_sum
from kzoo.losses.parts.candidates import paired_cosines
from kzoo.losses.parts.pairwise import PairwiseLoss, by_blocks
from kzoo.types import Tensor


@keras.saving.register_keras_serializable(package="kzoo")
class CoSENT(PairwiseLoss):
    """Pairs that were scored higher must have the higher cosine, whatever its value.

    With `p_i = cos(a_i, b_i)` and the score `y_i` of each pair:
    `L = ln(1 + sum_{y_i < y_j} exp(scale (p_i - p_j)))`, one logarithm for the whole batch. No value belongs to a
    row, so there are no sample weights.

    Args:
        scale: multiplies the differences of cosines.
        block_size: pairs compared at a time with all, exact and with less memory, or `"auto"`; None: all at once.
        inputs: names of the tensors to read; default `("image_embeddings", "text_embeddings")`.

    Inputs:
        a, b: float tensors `(batch, dim)`, pair by pair. They are normalised.
        scores: tensor `(batch,)`, how similar each pair is; only the order counts.

    Feeding:
        `kzoo.data.text_pairs(source, preprocessor, columns=("scores",))` for `SelfSupervised(text_encoder)`, with
        `inputs=("view_1", "view_2")`; of pictures and texts a column `scores` of `kzoo.data.pairs`, for a
        `DualEncoder`.

    Returns:
        float32 scalar. `ln(1 + k)` when all cosines are equal and k ordered pairs of scores differ; 0 when all
        scores are equal.

    Raises:
        ValueError: `scale` is not positive.

    Recommendations:
        The safe choice for graded pairs. `PearsonLoss` where the values of the scores matter; `RankKL` and
        `PreferenceRank` weigh the top of the list more.

    Example:
        >>> CoSENT(scale=1.0)(np.eye(2), np.ones((2, 2)), scores=np.array([0.0, 1.0]))
        0.6931

    Reference:
        Su, CoSENT, 2022, kexue.fm/archives/8847; Li and Li, AnglE, 2023, arXiv 2309.12871.
    """

    optional_inputs = {"scores": "scores"}
    required_inputs = ("scores",)
    shapes = PairwiseLoss.shapes | {"scores": "batch"}
    numbers = PairwiseLoss.numbers | {"scores": "number"}

    def __init__(self, scale=20.0, block_size=None, inputs=None, **kwargs):
        super().__init__(block_size, inputs, **kwargs)
        self.scale = float(scale)

    def call(self, a, b, scores) -> Tensor:
        pairs = {"p": paired_cosines(a, b), "y": ops.cast(scores, "float32")}

        def row(i, real, rows, columns):
            z = self.scale * (rows["p"][:, None] - columns["p"][None, :])
            wrong = rows["y"][:, None] < columns["y"][None, :]
            return {"log_sum": masked_log_sum(z, wrong)}, {}

        of_rows, _ = by_blocks(row, pairs, pairs, self.block_size)
        return ops.softplus(ops.logsumexp(of_rows["log_sum"]))
