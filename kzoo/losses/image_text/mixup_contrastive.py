"""The mixup contrastive loss of M3CoL."""

import keras
from keras import ops

from kzoo.arguments import POSITIVE
from kzoo.layers.numerics import l2_normalize
from kzoo.losses.base import weighted_mean
from kzoo.losses.parts.mixing import random_permutation, random_share
from kzoo.losses.parts.pairwise import PairwiseLoss, Tile, cross_entropies, mean_of_directions, same
from kzoo.losses.parts.temperature import check_temperature, resolve_scale
from kzoo.types import Tensor


@keras.saving.register_keras_serializable(package="kzoo")
class MixupContrastive(PairwiseLoss):
    """A mixture of two rows must find the partners of both, in the shares that it was mixed in.

    Rows are mixed before they are normalised, `m_i = lam_i a_i + (1 - lam_i) a_perm(i)`. With
    `z_ij = <m_i, b_j> / temperature` and `T_ij = lam_i [j = i] + (1 - lam_i) [j = perm(i)]`, one side's loss is
    the mean of the cross-entropies of `z` against `T` over rows and over columns. `L` is the sum of both sides: mixed
    `a` with `b`, and mixed `b` with `a`.

    Args:
        temperature: a float or a `LearnableTemperature`.
        beta: `lam` is drawn from Beta(beta, beta); 0.15 keeps most of one row.
        probability: of a row to be mixed at all.
        seed: of the draws.
        block_size: rows compared at a time, exact and with less memory, or `"auto"`; None: all at once.
        inputs: names of the tensors to read; default `("image_embeddings", "text_embeddings")`.

    Inputs:
        a, b: float tensors `(batch, dim)`; row i of `a` belongs to row i of `b`. Their lengths weigh the mixture.
        a_permutation, b_permutation: int tensors `(batch,)`, `perm` above; drawn when not given.
        a_lam, b_lam: float tensors `(batch,)`, `lam` above; drawn when not given.
        sample_weight: float tensor `(batch,)`; a row of weight 0 still serves as a negative.

    Returns:
        float32 scalar; twice `InfoNCE` where nothing is mixed.

    Raises:
        ValueError: bad temperature, `beta` or `probability`.

    Recommendations:
        Data with relations that pairs do not show. The authors add it with weight 0.1 to a supervised loss, and
        later in training take `SelfSoftTargetContrastive` in its place.

    Example:
        >>> MixupContrastive(probability=0.0)(np.eye(4), np.eye(4))
        0.0003

    Reference:
        Kumar et al., Harnessing Shared Relations via Multimodal Mixup Contrastive Learning (M3CoL), 2024,
        arXiv 2409.17777.
    """

    optional_inputs = PairwiseLoss.optional_inputs | {
        "a_permutation": "a_permutation",
        "a_lam": "a_lam",
        "b_permutation": "b_permutation",
        "b_lam": "b_lam",
    }
    shapes = PairwiseLoss.shapes | {
        "a_permutation": "batch",
        "a_lam": "batch",
        "b_permutation": "batch",
        "b_lam": "batch",
    }
    numbers = PairwiseLoss.numbers | {"a_permutation": "index of batch", "b_permutation": "index of batch"}
    arguments = {"beta": POSITIVE}

    def __init__(self, temperature=0.1, beta=0.15, probability=0.5, seed=None, block_size=None, inputs=None, **kwargs):
        super().__init__(block_size, inputs, **kwargs)
        self.temperature = check_temperature(temperature)
        self.beta, self.probability = beta, probability
        self.seed_generator = keras.random.SeedGenerator(seed)

    def call(self, a, b, a_permutation=None, a_lam=None, b_permutation=None, b_lam=None, sample_weight=None) -> Tensor:
        per_row = self._side(a, b, a_permutation, a_lam) + self._side(b, a, b_permutation, b_lam)
        return weighted_mean(per_row, sample_weight)

    def _side(self, x, y, permutation, lam):
        """Value of each row of `x`, mixed, among the rows of `y`."""
        x = ops.cast(x, "float32")
        batch = ops.shape(x)[0]
        permutation = random_permutation(batch, self.seed_generator) if permutation is None else permutation
        lam = self._draw(batch) if lam is None else ops.cast(lam, "float32")
        mixed = lam[:, None] * x + (1.0 - lam)[:, None] * ops.take(x, permutation, axis=0)

        def tile(i, j, rows, columns):
            z = ops.matmul(columns["scale"] * rows["mixed"], ops.transpose(columns["y"]))
            share = rows["lam"][:, None]  # added up, so that a row that is mixed with itself keeps its target
            return Tile(z, share * same(i, j) + (1.0 - share) * same(rows["permutation"], j))

        rows = {"mixed": l2_normalize(mixed), "lam": lam, "permutation": ops.cast(permutation, "int32")}
        columns = {"y": l2_normalize(y), "scale": resolve_scale(self.temperature)}
        return mean_of_directions(*cross_entropies(tile, rows, columns, "both", self.block_size))

    def _draw(self, batch):
        lam = random_share((batch,), self.beta, self.seed_generator)
        return ops.where(keras.random.uniform((batch,), seed=self.seed_generator) < self.probability, lam, 1.0)
