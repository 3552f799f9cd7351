"""SupReMix: supervised contrast for regression, with mixed positives and negatives."""

from functools import partial

import keras
from keras import ops

from kzoo.arguments import POSITIVE, sequence
from kzoo.layers.numerics import l2_normalize
from kzoo.losses.base import Loss
from kzoo.losses.parts.anchors import masked_log_sum, mean_of_anchors, mixed_cosine
from kzoo.losses.parts.blocks import AUTO, asked, blocks_of, chosen
from kzoo.losses.parts.pairwise import PairwiseLoss, by_blocks
from kzoo.losses.parts.temperature import check_temperature, resolve_scale
from kzoo.types import Tensor


@keras.saving.register_keras_serializable(package="kzoo")
class SupReMix(PairwiseLoss):
    """Orders embeddings by a number: rows of the same target attract, and mixtures of rows serve as both sides.

    Of an anchor `z_i` with target `y_i`, all of unit length: the positives P are the rows of the same target and, of
    each two rows with `y_j < y_i < y_k` inside the window, the mixture `n(l z_j + (1 - l) z_k)` whose target is
    `y_i`; the negatives N are the rows of other targets and their mixtures `n(lam z_i + (1 - lam) z_k)` with the
    anchor. With `w = |y_i - y_n| + 1`:
    `L_i = LSE(P: s/t; N: s/t + log w) - mean_P s/t`, averaged over the anchors that have a positive.

    Mixtures of two rows make `batch^3` scores, and the loss holds them all without `block_size`; with it they are made
    for one lower row at a time, and no array is larger than `block_size * batch`.

    Args:
        temperature: a float or a `LearnableTemperature`.
        window: how far from the anchor's the targets of rows may be that are mixed into a positive; None: any.
        beta: the two parameters of the Beta distribution of `lam`.
        distance_weighting: False sets `w = 1`.
        block_size: anchors at a time, exact and with less memory, or `"auto"`; None: all at once.
        seed: of the draws of `lam`.
        inputs: names of the tensors to read; default `("view_1",)`.

    Inputs:
        a: float tensor `(batch, dim)`; it is normalised.
        b: a second view of the same rows, or absent; both views are then anchors.
        targets: float tensor `(batch,)`.
        lam: a number or float tensor `(batch,)`; drawn, one for each row, when it is not given.
        sample_weight: float tensor `(batch,)`, weighs the anchors.

    Feeding:
        `SelfSupervised(encoder)` and `kzoo.data.views({"images": images, "targets": targets}, steps)`; with two views
        `inputs=("view_1", "view_2")`.

    Returns:
        float32 scalar; 0 when no anchor has a positive.

    Raises:
        ValueError: bad temperature.

    Recommendations:
        For classes take `SupCon`. In large batches set `block_size`, and a window: far rows mix into poor positives.

    Example:
        >>> SupReMix(1.0)(np.eye(3), targets=np.array([1.0, 2.0, 3.0]), lam=0.5)
        2.4055

    Reference:
        Wu et al., SupReMix, 2023, arXiv 2309.16633. The weight `|y_i - y_n| + 1`, one `lam` for each row and the mean
        over all positives are our choice: the authors' code offers several weights and divides by `|P| + 1`.
    """

    default_inputs = ("view_1",)
    input_counts = (1, 2)
    optional_inputs = Loss.optional_inputs | {"targets": "targets", "lam": "lam"}
    required_inputs = ("targets",)
    shapes = PairwiseLoss.shapes | {"targets": "batch", "lam": "scalar | batch"}
    numbers = PairwiseLoss.numbers | {"targets": "number"}
    arguments = {"beta": sequence(POSITIVE, "two positive numbers", 2, 2)}

    def __init__(
        self,
        temperature=0.1,
        window=None,
        beta=(2, 8),
        distance_weighting=True,
        block_size=None,
        seed=None,
        inputs=None,
        **kwargs,
    ):
        super().__init__(block_size, inputs, **kwargs)
        self.temperature = check_temperature(temperature)
        self.window, self.beta, self.distance_weighting = window, tuple(beta), distance_weighting
        self.seed_generator = keras.random.SeedGenerator(seed)

    def pairs(self, batch_size) -> tuple:
        rows = batch_size * len(self.input_names)
        return rows, 3 * rows if chosen(asked(self.block_size), rows**3) else rows**2 + 2 * rows

    def negatives(self, batch_size) -> int:
        return 2 * (batch_size * len(self.input_names) - 1)

    def call(self, a, b=None, targets=None, lam=None, sample_weight=None) -> Tensor:
        views = [each for each in (a, b) if each is not None]
        shape = ops.shape(targets)
        lam = keras.random.beta(shape, *map(float, self.beta), seed=self.seed_generator) if lam is None else lam
        lam = ops.broadcast_to(ops.cast(lam, "float32"), shape)
        z, y, lam = ops.concatenate([l2_normalize(view) for view in views]), *map(self._twice(b), (targets, lam))
        columns = {"z": z, "y": y, "scale": resolve_scale(self.temperature)}
        rows, block_size = ops.shape(y)[0], asked(self.block_size)
        if block_size == AUTO:
            block_size = chosen(AUTO, rows**3) if isinstance(rows, int) else None
        anchors, of_each = partial(self._anchors, block_size), {"z": z, "y": y, "lam": lam}
        with blocks_of(None):  # it is decided
            of_rows, _ = by_blocks(anchors, of_each, columns, block_size)
        weight = None if sample_weight is None else self._twice(b)(sample_weight)
        return mean_of_anchors(of_rows["value"], of_rows["defined"], weight)

    def _twice(self, b):
        return lambda x: ops.cast(x if b is None else ops.concatenate([x, x]), "float32")

    def _anchors(self, block_size, i, real, rows, columns):
        z, y, scale = columns["z"], columns["y"], columns["scale"]
        j = ops.arange(ops.shape(y)[0], dtype="int32")
        equal = ops.equal(rows["y"][:, None], y[None, :])
        same, other = ops.logical_and(equal, ops.not_equal(i[:, None], j[None, :])), ops.logical_not(equal)
        s = ops.matmul(rows["z"], ops.transpose(z))  # (rows, batch)
        gap = ops.abs(rows["y"][:, None] - y[None, :]) if self.distance_weighting else ops.zeros_like(s)
        lam, own = rows["lam"][:, None], _squared(rows["z"])[:, None]
        mixed = mixed_cosine(lam, own, _squared(z)[None, :], s, own, s)

        anchors = {"s": s, "y": rows["y"], "z": z, "targets": y, "scale": scale}
        sides = {"z": z, "y": y, "s": ops.transpose(s)}
        # one lower side at a time, or the mixtures of a block would be as many as block_size * batch^2
        between, _ = by_blocks(self._mixtures, sides, anchors, 1 if block_size else None)
        parts = [masked_log_sum(scale * s, same), ops.logsumexp(between["log_sum"], axis=0)]
        parts += [masked_log_sum(scale * s + ops.log1p(gap), other)]
        parts += [masked_log_sum(scale * mixed + ops.log1p((1.0 - lam) * gap), other)]
        total = ops.sum(ops.where(same, scale * s, 0.0), axis=1) + ops.sum(between["total"], axis=0)
        count = ops.sum(ops.cast(same, "float32"), axis=1) + ops.sum(between["count"], axis=0)
        defined = count > 0.0
        value = ops.where(defined, ops.logsumexp(ops.stack(parts), axis=0), 0.0) - total / ops.maximum(count, 1.0)
        return {"value": value, "defined": ops.cast(defined, "float32")}, {}

    def _mixtures(self, j, real, sides, anchors):
        """Of each row as the lower side of mixtures, with all rows as the upper side, what they say to the anchors."""
        ahead = anchors["targets"][None, :] - anchors["y"][:, None]  # (anchors, batch), of the upper side
        back = anchors["y"][None, :] - sides["y"][:, None]  # (sides, anchors)
        reach = float("inf") if self.window is None else self.window
        above = ops.logical_and(ahead > 0.0, ahead <= reach)
        below = ops.logical_and(back > 0.0, back <= reach)
        there = ops.logical_and(below[:, :, None], above[None, :, :])  # (sides, anchors, batch)
        share = ahead[None, :, :] / ops.where(there, ahead[None, :, :] + back[:, :, None], 1.0)
        z, s = anchors["z"], anchors["s"]
        inner = ops.matmul(sides["z"], ops.transpose(z))[:, None, :]
        lengths = _squared(sides["z"])[:, None, None], _squared(z)
        mixed = mixed_cosine(ops.where(there, share, 1.0), *lengths, inner, sides["s"][:, :, None], s[None, :, :])
        logits = anchors["scale"] * mixed
        return {
            "log_sum": masked_log_sum(logits, there),
            "total": ops.sum(ops.where(there, logits, 0.0), axis=2),
            "count": ops.sum(ops.cast(there, "float32"), axis=2),
        }, {}


def _squared(x):
    return ops.sum(ops.square(x), axis=-1)
