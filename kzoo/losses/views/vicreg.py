"""VICReg."""

import keras
from keras import ops

from kzoo.losses.base import Loss
from kzoo.losses.parts.redundancy import check_two_rows, covariance, off_diagonal
from kzoo.types import Tensor


@keras.saving.register_keras_serializable(package="kzoo")
class VICReg(Loss):
    """Views agree, every dimension keeps a standard deviation of 1, and no two dimensions say the same.

    `L = sim_weight mean((a - b)^2) + std_weight (V(a) + V(b)) / 2 + cov_weight (K(a) + K(b))` with
    `V(x) = mean_d relu(1 - sqrt(var_d + 1e-4))` and `K(x) = (1/D) sum_(u != v) cov_uv^2`,
    unbiased, on rows as they are.

    Args:
        sim_weight: weight of the agreement (invariance).
        std_weight: weight of the deviation (variance).
        cov_weight: weight of the covariance.
        inputs: names of the tensors to read; default `("view_1", "view_2")`.

    Inputs:
        a, b: float tensors `(batch, dim)`; not normalised. Variances are those of the whole batch, so there is no
            `sample_weight`.

    Returns:
        float32 scalar. `0.99 std_weight` when every row of both views is the same.

    Raises:
        ValueError: a batch of one row.

    Recommendations:
        Without negatives and without a second encoder, so batches may be small; each view has its own terms, so the
        two towers may differ. `BarlowTwins` has one weight less to tune.

    Example:
        >>> VICReg()(np.ones((4, 2)), np.ones((4, 2)))
        24.75

    Reference:
        Bardes et al., VICReg, 2021, arXiv 2105.04906.
    """

    default_inputs = ("view_1", "view_2")
    optional_inputs = {}
    shapes = Loss.shapes | {"a": "batch dim", "b": "batch dim"}

    def __init__(self, sim_weight=25.0, std_weight=25.0, cov_weight=1.0, inputs=None, **kwargs):
        super().__init__(inputs=inputs, **kwargs)
        self.sim_weight, self.std_weight, self.cov_weight = sim_weight, std_weight, cov_weight

    def call(self, a, b) -> Tensor:
        check_two_rows(self, a)
        return self.sim_weight * self.disagreement(a, b) + self.spread(a, b)

    def disagreement(self, a, b) -> Tensor:
        """`mean((a - b)^2)`."""
        return ops.mean(ops.square(ops.cast(a, "float32") - ops.cast(b, "float32")))

    def spread(self, a, b) -> Tensor:
        """The terms of variance and covariance of two views, weighted."""
        (v_a, k_a), (v_b, k_b) = self.variance_and_covariance(a), self.variance_and_covariance(b)
        return self.std_weight * 0.5 * (v_a + v_b) + self.cov_weight * (k_a + k_b)

    def variance_and_covariance(self, x) -> tuple:
        """`(V(x), K(x))`."""
        c = covariance(x)
        deviation = ops.sqrt(ops.diagonal(c) + 1e-4)
        return ops.mean(ops.relu(1.0 - deviation)), ops.sum(ops.square(off_diagonal(c))) / x.shape[-1]
