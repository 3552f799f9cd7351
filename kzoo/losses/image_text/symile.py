"""The loss of Symile: one softmax over the products of any number of modalities."""

import math

import keras
from keras import ops

from kzoo.arguments import one_of
from kzoo.layers.numerics import NEGATIVE
from kzoo.losses.base import weighted_mean
from kzoo.losses.parts.pairwise import PairwiseLoss, by_blocks, same
from kzoo.losses.parts.temperature import check_temperature, resolve_scale
from kzoo.losses.parts.views import unit_views
from kzoo.types import Tensor

NEGATIVES = ("all", "shuffled")


@keras.saving.register_keras_serializable(package="kzoo")
class Symile(PairwiseLoss):
    """Softmax over the joint score of any number of modalities: each row must find all its partners at once.

    With unit rows, the score of one row of each modality is their multilinear product
    `MIP(x, y, ..., w) = sum_d x_d y_d ... w_d`. Of `M` modalities each is the anchor once:
    `L = (1/M) sum_m (1/B) sum_i [ LSE_n MIP(m_i, n) / temperature - MIP(m_i, others_i) / temperature ]`, where
    `n` runs over the candidates of the other modalities. For two modalities that is `InfoNCE`.

    Args:
        temperature: a float, a `LearnableTemperature`, or None: the similarity head of the model that the
            loss is attached to, 0.07 when called alone. Products of unit rows shrink as `dim^(1 - M/2)`, so more
            modalities need a smaller one: learn it.
        negatives: `"all"`: every combination of rows, `B^(M-1)` candidates for each anchor, in memory `B^M` scores.
            `"shuffled"`: B candidates, of which the wrong ones combine rows that are permuted for each modality
            on its own; a permutation may leave a true partner where it is.
        seed: of the permutations.
        block_size: rows of the first modality (`"all"`) or of every one (`"shuffled"`) compared at a time, exact
            and with less memory; None: all at once.
        inputs: names of the tensors to read, two or more; default `("image_embeddings", "text_embeddings")`.

    Inputs:
        *modalities: float tensors `(batch, dim)`, row i of each belongs together. They are normalised.
        permutations: int tensor `(M, M - 1, batch)`: for each anchor, the rows that stand as candidates j for each
            of the other modalities, in their order; drawn when not given.
        sample_weight: float tensor `(batch,)`; a row of weight 0 still serves as a negative.
        scale: scalar, the model's own `1 / temperature`; read only when `temperature` is None.

    Returns:
        float32 scalar. When all embeddings are equal, `(M - 1) ln(batch)` with all negatives and `ln(batch)` with
        shuffled ones.

    Raises:
        ValueError: unknown `negatives`, fewer than two modalities, shapes that differ.

    Recommendations:
        Three modalities in a large batch: `negatives="shuffled"`. Two: `InfoNCE`. Where all modalities say the
        same thing, pairs suffice: `InfoNCE(inputs=...)` for each of them, or `GramContrastive`. This one also learns
        what shows only in three together.

    Example:
        >>> Symile()(np.eye(4), np.eye(4), np.eye(4))
        9.4e-06

    Reference:
        Saporta et al., Contrasting with Symile, 2024, arXiv 2411.01053.
    """

    optional_inputs = PairwiseLoss.optional_inputs | {"permutations": "permutations", "scale": "logit_scale"}
    input_counts = (2, None)
    shapes = PairwiseLoss.shapes | {"modalities": "batch dim", "permutations": "modalities others batch"}
    arguments = {"negatives": one_of(*NEGATIVES)}

    def __init__(self, temperature=None, negatives="all", seed=None, block_size=None, inputs=None, **kwargs):
        super().__init__(block_size, inputs, **kwargs)
        self.temperature = check_temperature(temperature)
        self.candidates = negatives
        self.seed_generator = keras.random.SeedGenerator(seed)

    def pairs(self, batch_size) -> tuple:
        count = len(self.input_names)
        return batch_size, batch_size ** (count - 1) if self.candidates == "all" else batch_size * count

    def negatives(self, batch_size) -> int:
        return (self.pairs(batch_size)[1] if self.candidates == "all" else batch_size) - 1

    def call(self, *modalities, permutations=None, sample_weight=None, scale=None) -> Tensor:
        modalities = unit_views(self, modalities)
        scale = resolve_scale(self.temperature, scale)
        if self.candidates == "all":
            per_row = self._among_all(modalities, scale)
        else:
            per_row = self._among_shuffled(modalities, scale, permutations)
        return weighted_mean(per_row, sample_weight)

    def _among_all(self, modalities, scale):
        first, *others = modalities

        def products(i, real, rows, columns):
            partial = rows["0"][:, None, :]  # (R, combinations so far, dim)
            for m in range(1, len(others)):
                partial = partial[:, :, None, :] * columns[str(m)][None, None]
                partial = ops.reshape(partial, (ops.shape(partial)[0], -1, first.shape[-1]))
            z = columns["scale"] * ops.matmul(partial, ops.transpose(columns[str(len(others))]))
            z = ops.reshape(z, (ops.shape(z)[0], *[ops.shape(first)[0]] * len(others)))  # one axis per modality
            masked = z if real is None else ops.where(ops.reshape(real, (-1, *[1] * len(others))), z, NEGATIVE)
            axes = range(len(modalities))
            log_sums = {str(m): ops.logsumexp(masked, axis=[axis for axis in axes if axis != m]) for m in axes[1:]}
            return {"0": ops.logsumexp(z, axis=list(axes[1:]))}, log_sums

        columns = {str(m): modality for m, modality in enumerate(others, start=1)} | {"scale": scale}
        of_rows, of_blocks = by_blocks(products, {"0": first}, columns, self.block_size)
        log_sums = [of_rows["0"], *(ops.logsumexp(value, axis=0) for value in of_blocks.values())]
        return sum(log_sums) / len(log_sums) - scale * _joint(modalities)

    def _among_shuffled(self, modalities, scale, permutations):
        if permutations is None:
            shape = (len(modalities), len(modalities) - 1, ops.shape(modalities[0])[0])
            permutations = ops.argsort(keras.random.uniform(shape, seed=self.seed_generator), axis=-1)
        candidates = []
        for m in range(len(modalities)):
            others = modalities[:m] + modalities[m + 1 :]
            candidates.append(math.prod(ops.take(other, permutations[m, q], axis=0) for q, other in enumerate(others)))

        def log_sums(i, real, rows, columns):
            z = ops.einsum("imd,jmd->imj", rows["anchors"], columns["candidates"])  # (R, M, B)
            own = same(i, ops.arange(ops.shape(z)[2], dtype="int32"))[:, None, :]
            z = columns["scale"] * ops.where(own > 0.0, rows["joint"][:, None, None], z)
            return {"mean": ops.mean(ops.logsumexp(z, axis=2), axis=1)}, {}

        joint = _joint(modalities)
        rows = {"anchors": ops.stack(modalities, axis=1), "joint": joint}
        columns = {"candidates": ops.stack(candidates, axis=1), "scale": scale}
        return by_blocks(log_sums, rows, columns, self.block_size)[0]["mean"] - scale * joint


def _joint(modalities):
    return ops.sum(math.prod(modalities), axis=-1)
