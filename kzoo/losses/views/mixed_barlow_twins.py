"""Mixed Barlow Twins."""

import keras
from keras import ops

from kzoo.losses.parts.redundancy import check_two_rows, cross_correlation, standardised
from kzoo.losses.views.barlow_twins import BarlowTwins
from kzoo.types import Tensor


@keras.saving.register_keras_serializable(package="kzoo")
class MixedBarlowTwins(BarlowTwins):
    """Barlow Twins, and a mixed image should correlate with both views as the mixture of its two sources does.

    The caller mixes the images of the views, `x_m = lam x_1 + (1 - lam) x_2[permutation]`, and embeds them. With
    standardised columns `A`, `B`, `M` and `X = lam A + (1 - lam) B[permutation]`:
    `L = BarlowTwins(a, b) + mix_scale lambd (|(M - X)^T A / N|^2 + |(M - X)^T B / N|^2)`, Frobenius norms. Gradients
    go through all four; the biased variance in all three is our choice, the authors' code has the unbiased one.

    Args:
        lambd: weight of what lies off the diagonal.
        mix_scale: weight of the mixture, in units of `lambd`.
        inputs: names of the tensors to read; default `("view_1", "view_2", "mixed_view")`.

    Inputs:
        a, b: float tensors `(batch, dim)`, the views.
        m: float tensor `(batch, dim)`, the embeddings of the mixed images.
        lam: the share of the first view, a number or a tensor `(batch,)`, usually drawn from Beta(1, 1).
        permutation: int tensor `(batch,)`, the row of the second view that each image was mixed with.

    Feeding:
        `SelfSupervised(encoder)` and `kzoo.data.views(images, steps, mix=Mixup())`, which gives all three.

    Returns:
        float32 scalar, `BarlowTwins` where each mixed row is its mixture.

    Raises:
        ValueError: a batch of one row; attached to a batch without `lam` or `permutation`.

    Recommendations:
        For small data sets, on which `BarlowTwins` overfits with wide projections.

    Example:
        >>> a = np.array([[1.0, 1.0], [1.0, -1.0], [-1.0, 1.0], [-1.0, -1.0]])
        >>> MixedBarlowTwins()(a, a, -a, lam=1.0, permutation=np.arange(4))
        0.4

    Reference:
        Bandara et al., Guarding Barlow Twins Against Overfitting with Mixed Samples, 2023, arXiv 2312.02151.
    """

    default_inputs = ("view_1", "view_2", "mixed_view")
    optional_inputs = {"lam": "lam", "permutation": "permutation"}
    required_inputs = ("lam", "permutation")
    shapes = BarlowTwins.shapes | {"m": "batch dim", "lam": "scalar | batch", "permutation": "batch"}
    numbers = BarlowTwins.numbers | {"permutation": "index of batch"}

    def __init__(self, lambd=0.005, mix_scale=5.0, inputs=None, **kwargs):
        super().__init__(lambd, inputs, **kwargs)
        self.mix_scale = mix_scale

    def call(self, a, b, m, lam, permutation) -> Tensor:
        check_two_rows(self, a)
        a, b, m = standardised(a), standardised(b), standardised(m)
        lam = ops.reshape(ops.cast(lam, "float32"), (-1, 1))
        rest = m - (lam * a + (1.0 - lam) * ops.take(b, permutation, axis=0))
        mixture = sum(ops.sum(ops.square(cross_correlation(rest, view))) for view in (a, b))
        return self.redundancy(a, b) + self.mix_scale * self.lambd * mixture
