"""Geodesic multi-modal mixup (m2-Mix)."""

import keras
from keras import ops

from kzoo.arguments import POSITIVE, one_of
from kzoo.layers.numerics import l2_normalize
from kzoo.losses.base import weighted_mean
from kzoo.losses.parts.mixing import random_share
from kzoo.losses.parts.pairwise import PairwiseLoss, Tile, cross_entropies, mean_of_directions, same
from kzoo.losses.parts.temperature import check_temperature, resolve_scale
from kzoo.types import Tensor

MODES = ("m2", "v", "l", "vl")
PARALLEL = 1e-7  # nearer to +-1 a cosine has no angle


@keras.saving.register_keras_serializable(package="kzoo")
class GeodesicMixup(PairwiseLoss):
    """Hard negatives on the arc between a picture and its text, or mixtures along arcs within a modality.

    On unit rows at angle `th`, `slerp(x, y) = (sin(lam th) x + sin((1 - lam) th) y) / sin th` and has unit length.

    - `"m2"`: `m_j = slerp(a_j, b_j)`. Row i of `a` must choose `b_i` among itself and all `m_j`, j != i, and row i of
      `b` must choose `a_i` likewise; mean of the two.
    - `"v"`: `slerp(a_i, a_flip(i))` with `flip(i) = B - 1 - i` against `b`, cross-entropy over rows and columns
      with `T = lam I + (1 - lam) flip(I)`. `"l"`: the same with `b` mixed.
    - `"vl"`: both are mixed, with `T = I + flip(I)`.

    Args:
        temperature: a float, a `LearnableTemperature`, or None: the similarity head of the model that the
            loss is attached to, 0.07 when called alone.
        mode: one of the four above.
        beta: `lam` is drawn once for a batch from Beta(beta, beta).
        lam: keep `lam` at this number.
        seed: of the draw.
        block_size: rows compared at a time, exact and with less memory, or `"auto"`; None: all at once.
        inputs: names of the tensors to read; default `("image_embeddings", "text_embeddings")`.

    Inputs:
        a, b: float tensors `(batch, dim)`; row i of `a` belongs to row i of `b`. They are normalised.
        sample_weight: float tensor `(batch,)`; a row of weight 0 still serves as a negative.
        scale: scalar, the model's own `1 / temperature`; read only when `temperature` is None.

    Returns:
        float32 scalar. In `"m2"` the mean of both directions, half of what the authors' code sums.

    Raises:
        ValueError: unknown mode, bad temperature, `beta` or `lam`.

    Recommendations:
        Fine-tuning of a model whose modalities lie apart: `InfoNCE(0.01) + 0.01 * GeodesicMixup(0.07)`,
        as the authors do.

    Example:
        >>> GeodesicMixup(0.5, lam=0.5)(np.eye(4), np.eye(4))
        0.3408

    Reference:
        Oh et al., Geodesic Multi-Modal Mixup for Robust Fine-Tuning, 2022, arXiv 2203.03897.
    """

    optional_inputs = PairwiseLoss.optional_inputs | {"scale": "logit_scale"}
    arguments = {"mode": one_of(*MODES), "beta": POSITIVE}

    def __init__(
        self, temperature=None, mode="m2", beta=0.5, lam=None, seed=None, block_size=None, inputs=None, **kwargs
    ):
        super().__init__(block_size, inputs, **kwargs)
        self.temperature = check_temperature(temperature)
        self.mode, self.beta, self.lam = mode, beta, lam
        self.seed_generator = keras.random.SeedGenerator(seed)

    def call(self, a, b, sample_weight=None, scale=None) -> Tensor:
        a, b = l2_normalize(a), l2_normalize(b)
        lam = random_share((), self.beta, self.seed_generator) if self.lam is None else self.lam
        scale = resolve_scale(self.temperature, scale)
        per_row = self._hard(a, b, lam, scale) if self.mode == "m2" else self._flipped(a, b, lam, scale)
        return weighted_mean(mean_of_directions(*per_row), sample_weight)

    def _hard(self, a, b, lam, scale):
        def tile(i, j, rows, columns):
            own = same(i, j)
            z = ops.matmul(rows["x"], ops.transpose(columns["mixed"]))
            return Tile(columns["scale"] * ops.where(own > 0.0, rows["partner"][:, None], z), own)

        columns, partner = {"mixed": slerp(a, b, lam), "scale": scale}, ops.sum(a * b, axis=-1)
        return [
            cross_entropies(tile, {"x": x, "partner": partner}, columns, block_size=self.block_size)[0] for x in (a, b)
        ]

    def _flipped(self, a, b, lam, scale):
        last = ops.shape(a)[0] - 1
        a = slerp(a, ops.flip(a, axis=0), lam) if "v" in self.mode else a
        b = slerp(b, ops.flip(b, axis=0), lam) if "l" in self.mode else b
        own, other = (1.0, 1.0) if self.mode == "vl" else (lam, 1.0 - lam)

        def tile(i, j, rows, columns):
            z = ops.matmul(columns["scale"] * rows["a"], ops.transpose(columns["b"]))
            return Tile(z, own * same(i, j) + other * same(last - i, j))

        return cross_entropies(tile, {"a": a}, {"b": b, "scale": scale}, "both", self.block_size)


def slerp(x, y, lam) -> Tensor:
    """The point that divides the arc between unit rows, `x` at `lam` 1 and `y` at 0; `(batch, dim)`."""
    cosine = ops.sum(x * y, axis=-1, keepdims=True)
    angle = ops.arccos(ops.clip(cosine, PARALLEL - 1.0, 1.0 - PARALLEL))
    return (ops.sin(lam * angle) * x + ops.sin((1.0 - lam) * angle) * y) / ops.sin(angle)
