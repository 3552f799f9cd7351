"""The Gumbel-softmax penalty of Sparse-CBM on a batch's scores of concepts."""

import keras
from keras import ops

from kzoo.losses.base import Loss, weighted_mean
from kzoo.types import Tensor


@keras.saving.register_keras_serializable(package="kzoo")
class GumbelContrastive(Loss):
    """Spreads scores of concepts: the mean of all negative log-probabilities of a Gumbel-softmax, over both axes.

    With noise `g`, `g'` from Gumbel(0, 1):
    `L = 1/2 [ mean_ij -log softmax_j((z + g) / tau)_ij + mean_ij -log softmax_i((z + g') / tau)_ij ]`. The mean is
    over all entries, as in the authors' code: nothing marks a right concept, it is a penalty on peaked scores.

    Args:
        tau: temperature.
        seed: of the noise.
        inputs: names of the tensors to read; default `("concept_logits",)`.

    Inputs:
        logits: float tensor `(batch, concepts)`.
        row_noise, column_noise: float tensors `(batch, concepts)`, `g` and `g'` above; drawn when not given.
        sample_weight: float tensor `(batch,)`, of the entries of a row.

    Feeding:
        `DualEncoder(..., heads=[Head(Classifier(concepts), "image_features", "concept_logits")])`, on any pairs.

    Returns:
        float32 scalar; `(ln concepts + ln batch) / 2` for equal scores without noise, and never less.

    Raises:
        ValueError: `tau` is not positive.

    Recommendations:
        Beside a loss that says which concept is right. Their contrastive variant is `InfoNCE`, their sparse one an
        L1 regulariser on the weights of the concept layer.

    Example:
        >>> noise = np.zeros((4, 4))
        >>> GumbelContrastive()(np.zeros((4, 4)), row_noise=noise, column_noise=noise)
        1.3863

    Reference:
        Semenov et al., Sparse Concept Bottleneck Models: Gumbel Tricks in Contrastive Learning, 2024,
        arXiv 2404.03323.
    """

    default_inputs = ("concept_logits",)
    optional_inputs = Loss.optional_inputs | {"row_noise": "row_noise", "column_noise": "column_noise"}
    shapes = Loss.shapes | {"logits": "batch concepts", "row_noise": "batch concepts", "column_noise": "batch concepts"}

    def __init__(self, tau=1.0, seed=None, inputs=None, **kwargs):
        super().__init__(inputs=inputs, **kwargs)
        self.tau = tau
        self.seed_generator = keras.random.SeedGenerator(seed)

    def call(self, logits, row_noise=None, column_noise=None, sample_weight=None) -> Tensor:
        logits, values = ops.cast(logits, "float32"), 0.0
        for axis, noise in ((1, row_noise), (0, column_noise)):
            z = (logits + (self._gumbel(logits) if noise is None else ops.cast(noise, "float32"))) / self.tau
            values += 0.5 * (ops.logsumexp(z, axis=axis, keepdims=True) - z)
        return weighted_mean(ops.mean(values, axis=1), sample_weight)

    def _gumbel(self, logits):
        uniform = keras.random.uniform(ops.shape(logits), minval=1e-7, maxval=1.0 - 1e-7, seed=self.seed_generator)
        return -ops.log(-ops.log(uniform))
