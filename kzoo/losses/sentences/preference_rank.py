"""Preference ranking of graded pairs, the PRO term of CoDiEmb."""

import keras
from keras import ops

from kzoo.losses.parts.anchors import masked_log_sum, mean_of_anchors
from kzoo.losses.parts.candidates import paired_cosines
from kzoo.losses.parts.pairwise import PairwiseLoss, by_blocks
from kzoo.losses.parts.temperature import check_temperature, resolve_scale
from kzoo.types import Tensor


@keras.saving.register_keras_serializable(package="kzoo")
class PreferenceRank(PairwiseLoss):
    """Each pair must win against all that were scored lower, the more so the further below they are.

    With `p_i = cos(a_i, b_i)`, scores `y`, and the weights `w_kj = y_k - y_j` of the pairs j scored below k:
    `L = mean_k -ln softmax([p_k max_j w_kj, (p_j w_kj)_j] / temperature)_0`, over the k with something below them.

    Args:
        temperature: a float or a `LearnableTemperature`.
        block_size: pairs compared at a time with all, exact and with less memory, or `"auto"`; None: all at once.
        inputs: names of the tensors to read; default `("image_embeddings", "text_embeddings")`.

    Inputs:
        a, b: float tensors `(batch, dim)`, pair by pair. They are normalised.
        scores: tensor `(batch,)`, how similar each pair is; differences count.
        sample_weight: float tensor `(batch,)`, of the winners; a pair of weight 0 still is won against.

    Feeding:
        `kzoo.data.text_pairs(source, preprocessor, columns=("scores",))` for `SelfSupervised(text_encoder)`, with
        `inputs=("view_1", "view_2")`; of pictures and texts a column `scores` of `kzoo.data.pairs`, for a
        `DualEncoder`.

    Returns:
        float32 scalar; 0 when all scores are equal.

    Raises:
        ValueError: bad temperature.

    Recommendations:
        Where the best of a list matters most. `CoSENT` does not depend on the scale of the scores.

    Example:
        >>> PreferenceRank(temperature=1.0)(np.eye(2), np.ones((2, 2)), scores=np.array([0.0, 1.0]))
        0.6931

    Reference:
        Zhang et al., CoDiEmb, 2025, arXiv 2508.11442; Song et al., Preference Ranking Optimization, 2023,
        arXiv 2306.17492.
    """

    optional_inputs = PairwiseLoss.optional_inputs | {"scores": "scores"}
    required_inputs = ("scores",)
    shapes = PairwiseLoss.shapes | {"scores": "batch"}
    numbers = PairwiseLoss.numbers | {"scores": "number"}

    def __init__(self, temperature=0.05, block_size=None, inputs=None, **kwargs):
        super().__init__(block_size, inputs, **kwargs)
        self.temperature = check_temperature(temperature)

    def call(self, a, b, scores, sample_weight=None) -> Tensor:
        pairs = {"p": paired_cosines(a, b), "y": ops.stop_gradient(ops.cast(scores, "float32"))}
        columns = pairs | {"scale": resolve_scale(self.temperature)}

        def row(i, real, rows, columns):
            w = rows["y"][:, None] - columns["y"][None, :]
            below = w > 0.0
            won = columns["scale"] * rows["p"] * ops.max(w, axis=1)
            lost = masked_log_sum(columns["scale"] * columns["p"][None, :] * w, below)
            return {"value": ops.softplus(lost - won), "counts": ops.cast(ops.any(below, axis=1), "float32")}, {}

        of_rows, _ = by_blocks(row, pairs, columns, self.block_size)
        return mean_of_anchors(of_rows["value"], of_rows["counts"], sample_weight)
