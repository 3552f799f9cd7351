"""GroCo: positives must rank before the hardest negatives, through a differentiable sort."""

import math

import keras
from keras import ops

from kzoo.layers.numerics import NEGATIVE, l2_normalize
from kzoo.losses.base import weighted_mean
from kzoo.losses.parts.anchors import nearest
from kzoo.losses.parts.pairwise import PairwiseLoss, by_blocks
from kzoo.types import Tensor


@keras.saving.register_keras_serializable(package="kzoo")
class GroupOrdering(PairwiseLoss):
    """Sorts the similarities of a row's views and of its hardest negatives, and asks for the views on top.

    Of each row of each view: its cosines `x` with the other views of the row and with the `num_negatives` nearest
    other rows of the same view go through an odd-even sorting network whose swaps are soft:
    `x_i <- g x_i + (1 - g) x_{i+1}` with `g = atan(steepness (x_{i+1} - x_i)) / pi + 1/2`, and `x_{i+1}` likewise.
    `p`, the probability that an input ends among the top ranks, should be 1 for views and 0 for negatives: `L` is the
    binary cross-entropy, averaged over inputs, rows and views. That of the lower ranks, which the paper averages with
    it, is the same number, for an input ends in either.

    Args:
        num_negatives: nearest negatives of each row.
        steepness: of the swaps; the larger, the closer to a hard sort.
        stop_gradient: whether only the row itself gets a gradient, not what it is compared with.
        block_size: rows compared at a time, exact and with less memory, or `"auto"`; None: all at once.
        inputs: names of the tensors to read, two or more; default `("view_1", "view_2")`.

    Inputs:
        views: two or more float tensors `(batch, dim)`; they are normalised.
        sample_weight: float tensor `(batch,)`.

    Returns:
        float32 scalar.

    Raises:
        ValueError: fewer than two views, or a batch without `num_negatives` other rows.

    Recommendations:
        Looks at the order only: for nearest-neighbour search. `NTXent` trains faster from scratch.

    Example:
        >>> GroupOrdering(num_negatives=1, steepness=1e4)(np.eye(2), np.eye(2))
        3.2e-05

    Reference:
        Shvetsova et al., Learning by Sorting, 2023, arXiv 2301.02009.
    """

    default_inputs = ("view_1", "view_2")
    input_counts = (2, None)
    shapes = PairwiseLoss.shapes | {"views": "batch dim"}

    def __init__(self, num_negatives=10, steepness=1.0, stop_gradient=True, block_size=None, inputs=None, **kwargs):
        super().__init__(block_size, inputs, **kwargs)
        self.num_negatives, self.steepness, self.stop_gradient = num_negatives, steepness, stop_gradient

    def negatives(self, batch_size) -> int:
        return min(self.num_negatives, batch_size - 1)

    def call(self, *views, sample_weight=None) -> Tensor:
        self._check_count(len(views), f"got {len(views)}")
        batch = views[0].shape[0]
        if batch is not None and batch <= self.num_negatives:
            raise ValueError(
                f"GroupOrdering compares each row with num_negatives={self.num_negatives} others, but the batch has "
                f"{batch} rows; give at least {self.num_negatives + 1}, or fewer negatives."
            )
        anchors = [l2_normalize(view) for view in views]
        others = [ops.stop_gradient(each) for each in anchors] if self.stop_gradient else anchors
        of_views = []
        for u, anchor in enumerate(anchors):
            views_of_row = ops.stack([each for w, each in enumerate(others) if w != u], axis=1)  # (batch, P, dim)
            rows = {"anchor": anchor, "views": views_of_row}
            of_rows, _ = by_blocks(self._rows, rows, {"others": others[u]}, self.block_size)
            of_views.append(of_rows["value"])
        return weighted_mean(sum(of_views) / len(of_views), sample_weight)

    def _rows(self, i, real, rows, columns):
        positive = ops.sort(ops.einsum("rd,rpd->rp", rows["anchor"], rows["views"]), axis=1)
        s = ops.matmul(rows["anchor"], ops.transpose(columns["others"]))
        j = ops.arange(ops.shape(s)[1], dtype="int32")
        s = ops.where(ops.equal(i[:, None], j[None, :]), NEGATIVE, s)
        negative = ops.flip(nearest(s, self.num_negatives)[0], axis=1)
        negative = ops.reshape(negative, (-1, self.num_negatives))  # of a batch of any size TensorFlow knows no columns
        count = positive.shape[1]
        on_top = _chance_of_top(ops.concatenate([negative, positive], axis=1), count, self.steepness)
        wrong = _cost(1.0 - on_top[:, : self.num_negatives]), _cost(on_top[:, self.num_negatives :])
        return {"value": ops.mean(ops.concatenate(wrong, axis=1), axis=1)}, {}


def _chance_of_top(x, count, steepness):
    """How much of each input `(R, m)` ends among the `count` largest after m layers of soft swaps: `(R, m)`."""
    size = x.shape[1]
    gates = []
    for layer in range(size):
        lower, upper = _pairs(x, layer % 2)
        gates.append(ops.arctan(steepness * (upper - lower)) / math.pi + 0.5)
        x = _swapped(x, gates[-1], layer % 2)
    top = ops.concatenate([ops.zeros_like(x[:, count:]), ops.ones_like(x[:, :count])], axis=1)
    for layer in reversed(range(size)):  # the product of the layers' matrices with `top`, without the matrices
        top = _swapped(top, gates[layer], layer % 2)
    return top


def _pairs(x, start):
    stop = start + 2 * ((x.shape[1] - start) // 2)
    return x[:, start:stop:2], x[:, start + 1 : stop : 2]


def _swapped(x, gate, start):
    lower, upper = _pairs(x, start)
    if not lower.shape[1]:  # two inputs have one pair, which every other layer passes over
        return x
    both = ops.stack([gate * lower + (1.0 - gate) * upper, (1.0 - gate) * lower + gate * upper], axis=2)
    count = 2 * gate.shape[1]
    both = ops.reshape(both, (-1, count))
    return ops.concatenate([x[:, :start], both, x[:, start + count :]], axis=1)


def _cost(p):
    """`-log p`, 100 at 0 and with a finite gradient there."""
    p = ops.clip(p, 0.0, 1.0)
    possible = p > 1e-30
    return ops.where(possible, -ops.log(ops.where(possible, p, 1.0)), 100.0)
