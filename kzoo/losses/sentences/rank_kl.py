"""RankKL, the list-wise ranking term of CoDiEmb."""

import keras
from keras import ops

from kzoo.losses.base import Loss
from kzoo.losses.parts.candidates import paired_cosines
from kzoo.losses.parts.temperature import check_temperature, resolve_scale
from kzoo.types import Tensor


@keras.saving.register_keras_serializable(package="kzoo")
class RankKL(Loss):
    """The cosines of a list of pairs must be distributed as the ranks of their scores are.

    With `p_i = cos(a_i, b_i)`, the ranks `r_i` of the scores (0 the highest, ties share their mean) and n pairs:
    `P = softmax((n - 1 - r) / (n - 1) / temperature)`, `L = KL(P || softmax(p / temperature))`, summed over the list.
    The authors' code divides by n as well. No value belongs to a row, so there are no sample weights.

    Args:
        temperature: a float or a `LearnableTemperature`.
        inputs: names of the tensors to read; default `("image_embeddings", "text_embeddings")`.

    Inputs:
        a, b: float tensors `(batch, dim)`, pair by pair. They are normalised.
        scores: tensor `(batch,)`, how similar each pair is; only the order counts.

    Feeding:
        `kzoo.data.text_pairs(source, preprocessor, columns=("scores",))` for `SelfSupervised(text_encoder)`, with
        `inputs=("view_1", "view_2")`; of pictures and texts a column `scores` of `kzoo.data.pairs`, for a
        `DualEncoder`.

    Returns:
        float32 scalar, at least 0; 0 for a batch of one.

    Raises:
        ValueError: bad temperature.

    Recommendations:
        Pulls mostly on the top of the list. `CoSENT` treats all wrong orders alike.

    Example:
        >>> RankKL(temperature=1.0)(np.eye(2), np.ones((2, 2)), scores=np.array([0.0, 1.0]))
        0.1109

    Reference:
        Zhang et al., CoDiEmb, 2025, arXiv 2508.11442.
    """

    optional_inputs = {"scores": "scores"}
    required_inputs = ("scores",)
    shapes = Loss.shapes | {"a": "batch dim", "b": "batch dim", "scores": "batch"}
    numbers = Loss.numbers | {"scores": "number"}

    def __init__(self, temperature=0.05, inputs=None, **kwargs):
        super().__init__(inputs=inputs, **kwargs)
        self.temperature = check_temperature(temperature)

    def call(self, a, b, scores) -> Tensor:
        p, scale = paired_cosines(a, b), resolve_scale(self.temperature)
        ideal = ops.log_softmax(scale * descending_share(ops.cast(scores, "float32")))
        return ops.sum(ops.exp(ideal) * (ideal - ops.log_softmax(scale * p)))


def descending_share(scores) -> Tensor:
    """1 for the highest score, 0 for the lowest, equal steps between, ties at their mean: `(n,)`, no gradient."""
    y = ops.stop_gradient(scores)
    ascending = ops.sort(y)
    below = ops.cast(ops.searchsorted(ascending, y, side="left"), "float32")
    not_above = ops.cast(ops.searchsorted(ascending, y, side="right"), "float32")
    last = ops.cast(ops.shape(y)[0], "float32") - 1.0
    return 0.5 * (below + not_above - 1.0) / ops.maximum(last, 1.0)
