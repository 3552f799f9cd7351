"""SIE, split invariant and equivariant representations."""

import keras
from keras import ops

from kzoo.losses.parts.redundancy import check_two_rows
from kzoo.losses.views.vicreg import VICReg
from kzoo.types import Tensor


@keras.saving.register_keras_serializable(package="kzoo")
class SplitInvariantEquivariant(VICReg):
    """One part of the embedding ignores how the view was changed, the other part must foretell it.

    With `x = [inv_a; equi_a]`, `y = [inv_b; equi_b]` side by side, `V` and `K` of `VICReg`:
    `L = sim_weight (mse(inv_a, inv_b) + equivariant_factor mse(prediction, equi_b))`
    `+ std_weight (V(x) + V(y) + V(prediction)) / 2 + cov_weight (K(x) + K(y))`. Nothing is detached. The predictor, a
    map whose weights come from the parameters of the transformation, belongs to the model.

    Args:
        sim_weight: weight of the agreement of the invariant parts.
        equivariant_factor: weight of the prediction, in units of `sim_weight`.
        std_weight: weight of the deviation.
        cov_weight: weight of the covariance.
        inputs: names of the tensors to read; default
            `("view_1_invariant", "view_2_invariant", "view_1_equivariant", "view_2_equivariant")`.

    Inputs:
        inv_a, inv_b: float tensors `(batch, dim)`, the invariant parts of the views.
        equi_a, equi_b: float tensors `(batch, dim of the rest)`.
        prediction: float tensor like `equi_b`, what the predictor makes of `equi_a`.

    Feeding:
        `SelfSupervised(encoder, heads=[Head(SplitProjector({"invariant": (64, 32), "equivariant": (64, 32)}),
        "*_features", ("*_invariant", "*_equivariant")), Head(HypernetworkPredictor(12), ("view_1_equivariant",
        "relative_parameters"), "prediction")])` and `kzoo.data.views(images, steps, parameters=True)`.

    Returns:
        float32 scalar.

    Raises:
        ValueError: a batch of one row; attached to a model without `prediction`.

    Recommendations:
        Where what a transformation did must stay readable, such as pose or colour. Otherwise `VICReg`.

    Example:
        >>> x = np.ones((4, 2))
        >>> SplitInvariantEquivariant()(x, x, x, x, prediction=x)
        14.85

    Reference:
        Garrido et al., Self-Supervised Learning of Split Invariant Equivariant Representations, 2023, arXiv
        2302.10283.
    """

    default_inputs = ("view_1_invariant", "view_2_invariant", "view_1_equivariant", "view_2_equivariant")
    optional_inputs = {"prediction": "prediction"}
    required_inputs = ("prediction",)
    shapes = VICReg.shapes | {
        "inv_a": "batch dim",
        "inv_b": "batch dim",
        "equi_a": "batch equi_dim",
        "equi_b": "batch equi_dim",
        "prediction": "batch equi_dim",
    }

    def __init__(self, sim_weight=10.0, equivariant_factor=4.5, std_weight=10.0, cov_weight=1.0, inputs=None, **kwargs):
        super().__init__(sim_weight, std_weight, cov_weight, inputs, **kwargs)
        self.equivariant_factor = equivariant_factor

    def call(self, inv_a, inv_b, equi_a, equi_b, prediction) -> Tensor:
        check_two_rows(self, inv_a)
        agreement = self.disagreement(inv_a, inv_b) + self.equivariant_factor * self.disagreement(prediction, equi_b)
        views = [ops.concatenate(parts, axis=-1) for parts in ((inv_a, equi_a), (inv_b, equi_b))]
        deviation, _ = self.variance_and_covariance(prediction)
        return self.sim_weight * agreement + self.spread(*views) + self.std_weight * 0.5 * deviation
