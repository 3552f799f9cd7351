"""InfoNCE, the loss of CLIP and ALIGN."""

import warnings

import keras
from keras import ops

from kzoo.arguments import one_of
from kzoo.losses.base import weighted_mean
from kzoo.losses.parts.pairwise import DIRECTIONS, PairwiseLoss, Tile, cross_entropies, mean_of_directions, same
from kzoo.losses.parts.products import unit_rows
from kzoo.losses.parts.temperature import check_temperature, resolve_scale
from kzoo.types import Tensor


@keras.saving.register_keras_serializable(package="kzoo")
class InfoNCE(PairwiseLoss):
    """Softmax over the batch: each row must find its partner among all rows of the other side.

    With unit rows, `z_ij = <a_i, b_j> / temperature` and the target `T = (1 - e) I + e / B`:
    `L(a_to_b) = (1/B) sum_i [ LSE_j z_ij - sum_j T_ij z_ij ]`; `b_to_a` is the same on the columns and
    `both` their mean.

    Args:
        temperature: a float, a `LearnableTemperature`, or None: the similarity head of the model that the
            loss is attached to, 0.07 when called alone.
        direction: `"both"`, `"a_to_b"` or `"b_to_a"`.
        label_smoothing: `e` above, in [0, 1).
        groups: split the batch into this many consecutive groups, with negatives from a row's own group
            only. A different, easier loss than the full batch's, not a way to evaluate it in parts.
        block_size: rows compared at a time, exact and with less memory, or `"auto"`; None: all at once.
        inputs: names of the tensors to read; default `("image_embeddings", "text_embeddings")`.

    Inputs:
        a, b: float tensors `(batch, dim)`; row i of `a` belongs to row i of `b`. Any length, they are
            normalised.
        sample_weight: float tensor `(batch,)`; a row of weight 0 still serves as a negative.
        scale: scalar, the model's own `1 / temperature`; read only when `temperature` is None.

    Returns:
        float32 scalar. `ln(batch)` when all embeddings are equal, 0 for a batch of one.

    Raises:
        ValueError: unknown direction, bad temperature, batch not divisible by `groups`.

    Recommendations:
        For batches above a few thousand on one device, or noisy pairs, `SigmoidContrastive` needs no sum
        over the batch and is less sensitive to its size.

    Example:
        >>> InfoNCE(temperature=0.07)(np.eye(4), np.eye(4))
        1.9e-06

    Reference:
        van den Oord et al., 2018, arXiv 1807.03748; Radford et al., CLIP, 2021, arXiv 2103.00020. Groups are
        inspired by Guo et al., M2-Encoder, 2024, arXiv 2401.15896.
    """

    optional_inputs = PairwiseLoss.optional_inputs | {"scale": "logit_scale"}
    arguments = {"direction": one_of(*DIRECTIONS)}

    def __init__(
        self,
        temperature=None,
        direction="both",
        label_smoothing=0.0,
        groups=1,
        block_size=None,
        inputs=None,
        **kwargs,
    ):
        super().__init__(block_size, inputs, **kwargs)
        self.temperature = check_temperature(temperature)
        self.direction = direction
        self.label_smoothing, self.groups = label_smoothing, groups

    def negatives(self, batch_size) -> int:
        return batch_size // self.groups - 1

    def call(self, a, b, sample_weight=None, scale=None) -> Tensor:
        batch = a.shape[0]
        if batch == 1:
            warnings.warn(
                "InfoNCE received a batch of one pair: there is no negative, so the loss is 0 and nothing is "
                "learned; use a batch of at least 2.",
                stacklevel=2,
            )
        if batch is not None and batch % self.groups:
            raise ValueError(f"a batch of {batch} rows does not split into groups={self.groups}; choose a divisor.")
        group_size = ops.shape(a)[0] // self.groups
        e = self.label_smoothing
        a, b = unit_rows(a, resolve_scale(self.temperature, scale)), unit_rows(b)

        def tile(i, j, rows, columns):
            group = None if self.groups == 1 else ops.equal((i // group_size)[:, None], (j // group_size)[None, :])
            if not e:
                return Tile(keep=group)
            others = e / ops.cast(group_size, "float32")
            others = others if group is None else ops.where(group, others, 0.0)
            return Tile(target=(1.0 - e) * same(i, j) + others, keep=group)

        own = None if e else True
        tensors = {"a": a}, {"b": b}
        per_row = cross_entropies(tile, *tensors, self.direction, self.block_size, own, product=("a", "b"))
        return weighted_mean(mean_of_directions(*per_row), sample_weight)
