"""SepCLR: common and salient factors of a target and a background set."""

import keras
from keras import ops

from kzoo.layers.numerics import l2_normalize
from kzoo.losses.parts.anchors import masked_log_sum, mean_of_anchors, squared_distances
from kzoo.losses.parts.pairwise import PairwiseLoss, by_blocks
from kzoo.losses.parts.temperature import check_temperature, resolve_scale
from kzoo.types import Tensor


@keras.saving.register_keras_serializable(package="kzoo")
class SeparateCommonSalient(PairwiseLoss):
    """Splits what a target and a background set share from what only the targets have.

    Common embeddings `c` are of unit length, salient ones `s` are not; `s'` are the salient ones with those of the
    background replaced by zeros. With `align(u, v) = mean ||u - v||^2 / 2t`,
    `unif(x) = log mean_{i<j} exp(-||x_i - x_j||^2 / 2t)` and
    `jem(c, s) = mean_i log mean_j exp(-(||c_i - c_j||^2 + ||s_i - s_j||^2) / 2t)`, averaged over the two views:
    `L = align(c) + u unif(c) + w_s [align(s, targets) + u unif(s')] + w_b align(s, 0, background) + w_m jem(c, s')`.

    Args:
        temperature: `t` above, a float or a `LearnableTemperature`.
        salient_weight, background_weight, mi_weight, uniformity_weight: `w_s`, `w_b`, `w_m` and `u` above.
        block_size: rows compared at a time, exact and with less memory, or `"auto"`; None: all at once.
        inputs: names of the tensors to read; default
            `("view_1_common", "view_2_common", "view_1_salient", "view_2_salient")`.

    Inputs:
        common_a, common_b: float tensors `(batch, dim)`, two views; they are normalised.
        salient_a, salient_b: float tensors `(batch, other dim)`; they are taken as they are.
        is_target: bool or 0/1 tensor `(batch,)`, False for rows of the background.

    Feeding:
        `SelfSupervised(encoder, heads=[Head(SplitProjector({"common": (64, 32), "salient": (64, 32)}), "*_features",
        ("*_common", "*_salient"))])` and `kzoo.data.views({"images": images, "is_target": is_target}, steps)`.

    Returns:
        float32 scalar, below 0 where rows spread. A set without rows is aligned at cost 0, and one row is uniform at
        cost 0. There is no value of each row, so the loss takes no `sample_weight`.

    Raises:
        ValueError: bad temperature.

    Recommendations:
        Only for data with a background set that lacks what the targets have; else `AlignmentUniformity` or `NTXent`.

    Example:
        >>> c, s = np.eye(2), np.eye(2)
        >>> SeparateCommonSalient()(c, c, s, s, is_target=np.array([1, 0]))
        -11.4456

    Reference:
        Louiset et al., SepCLR, 2024, arXiv 2402.11928. That the background's salient part is drawn to zero and that
        the two first weights are 1 by default are our choice.
    """

    default_inputs = ("view_1_common", "view_2_common", "view_1_salient", "view_2_salient")
    optional_inputs = {"is_target": "is_target"}
    required_inputs = ("is_target",)
    shapes = PairwiseLoss.shapes | {
        "common_a": "batch dim",
        "common_b": "batch dim",
        "salient_a": "batch salient_dim",
        "salient_b": "batch salient_dim",
        "is_target": "batch",
    }
    numbers = PairwiseLoss.numbers | {"is_target": "flag"}

    def __init__(
        self,
        temperature=0.5,
        salient_weight=1.0,
        background_weight=1.0,
        mi_weight=10.0,
        uniformity_weight=2.0,
        block_size=None,
        inputs=None,
        **kwargs,
    ):
        super().__init__(block_size, inputs, **kwargs)
        self.temperature = check_temperature(temperature)
        self.salient_weight, self.background_weight = salient_weight, background_weight
        self.mi_weight, self.uniformity_weight = mi_weight, uniformity_weight

    def call(self, common_a, common_b, salient_a, salient_b, is_target) -> Tensor:
        half = 0.5 * resolve_scale(self.temperature)  # 1 / 2t
        target = ops.cast(is_target, "float32")
        common = [l2_normalize(each) for each in (common_a, common_b)]
        salient = [ops.cast(each, "float32") for each in (salient_a, salient_b)]
        shown = [target[:, None] * each for each in salient]
        spread_c, spread_s, joint = zip(*(self._spread(c, s, half) for c, s in zip(common, shown)))

        of_targets = half * mean_of_anchors(_squared(salient[0] - salient[1]), target)
        of_background = half * mean_of_anchors(_squared(salient[0]) + _squared(salient[1]), 1.0 - target) / 2.0
        u = 0.5 * self.uniformity_weight
        loss = half * ops.mean(_squared(common[0] - common[1])) + u * sum(spread_c)
        loss += self.salient_weight * (of_targets + u * sum(spread_s))
        return loss + self.background_weight * of_background + 0.5 * self.mi_weight * sum(joint)

    def _spread(self, c, s, half):
        """`unif(c)`, `unif(s)` and `jem(c, s)` of one view."""

        def log_sums(i, real, rows, columns):
            j = ops.arange(ops.shape(columns["c"])[0], dtype="int32")
            itself = ops.equal(i[:, None], j[None, :])
            of_c = -columns["half"] * squared_distances(rows["c"], columns["c"])
            of_s = -columns["half"] * squared_distances(rows["s"], columns["s"])
            # a row is at distance 0 of itself, whatever rounding says
            joint = ops.where(itself, 0.0, of_c + of_s)
            others = [masked_log_sum(each, ops.logical_not(itself)) for each in (of_c, of_s)]
            return {"c": others[0], "s": others[1], "joint": ops.logsumexp(joint, axis=1)}, {}

        rows = {"c": c, "s": s}
        of_rows, _ = by_blocks(log_sums, rows, rows | {"half": half}, self.block_size)
        count = ops.cast(ops.shape(c)[0], "float32")
        log_pairs = ops.log(ops.maximum(count * (count - 1.0), 1.0))  # of ordered pairs; each stands twice in the sum
        uniform = [ops.where(count > 1.0, ops.logsumexp(of_rows[each]) - log_pairs, 0.0) for each in ("c", "s")]
        return *uniform, ops.mean(of_rows["joint"]) - ops.log(count)


def _squared(x):
    return ops.sum(ops.square(x), axis=-1)
