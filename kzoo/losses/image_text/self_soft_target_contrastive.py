"""The second stage of M3CoL: the texts' own similarities are the targets."""

import keras
from keras import ops

from kzoo.layers.numerics import l2_normalize
from kzoo.losses.base import weighted_mean
from kzoo.losses.parts.pairwise import PairwiseLoss, Tile, by_blocks, cross_entropies, mean_of_directions
from kzoo.losses.parts.temperature import check_temperature, resolve_scale
from kzoo.types import Tensor


@keras.saving.register_keras_serializable(package="kzoo")
class SelfSoftTargetContrastive(PairwiseLoss):
    """Softmax over the batch whose targets are the softmax of how alike the second side's rows are.

    With unit rows, `z_ij = <a_i, b_j> / temperature` and `T_ij = softmax_j(<b_i, b_j> / temperature)`:
    `L = (1/2B) sum_i [ sum_j T_ij (LSE_k z_ik - z_ij) + sum_j T_ij (LSE_k z_ki - z_ji) ]`.

    Args:
        temperature: a float or a `LearnableTemperature`, of logits and targets.
        detach_targets: keep the gradient out of the targets; the authors' code lets it through.
        block_size: rows compared at a time, exact and with less memory, or `"auto"`; None: all at once.
        inputs: names of the tensors to read; default `("image_embeddings", "text_embeddings")`.

    Inputs:
        a, b: float tensors `(batch, dim)`; row i of `a` belongs to row i of `b`. Any length, they are normalised.
        sample_weight: float tensor `(batch,)`; a row of weight 0 still serves the others.

    Returns:
        float32 scalar, at least the mean entropy of the targets.

    Raises:
        ValueError: bad temperature.

    Recommendations:
        To follow another model's similarities `LogitDistillation`; without shared concepts in the batch `InfoNCE`.

    Example:
        >>> SelfSoftTargetContrastive(temperature=1.0)(np.eye(4), np.eye(4))
        1.2683

    Reference:
        Kumar et al., M3CoL, Harnessing Shared Relations via Multimodal Mixup Contrastive Learning, 2024,
        arXiv 2409.17777.
    """

    def __init__(self, temperature=0.125, detach_targets=False, block_size=None, inputs=None, **kwargs):
        super().__init__(block_size, inputs, **kwargs)
        self.temperature, self.detach_targets = check_temperature(temperature), detach_targets

    def call(self, a, b, sample_weight=None) -> Tensor:
        a, b, scale = l2_normalize(a), l2_normalize(b), ops.convert_to_tensor(resolve_scale(self.temperature))
        source, target_scale = (ops.stop_gradient(x) if self.detach_targets else x for x in (b, scale))

        def likeness(rows, columns):
            return columns["target_scale"] * ops.matmul(rows["source"], ops.transpose(columns["source"]))

        def log_sums(i, real, rows, columns):
            return {"log_sum": ops.logsumexp(likeness(rows, columns), axis=1)}, {}

        def tile(i, j, rows, columns):
            z = ops.matmul(columns["scale"] * rows["a"], ops.transpose(columns["b"]))
            y = likeness(rows, columns)  # symmetric: column j's target is row j's
            return Tile(z, ops.exp(y - rows["log_sum"][:, None]), ops.exp(y - columns["log_sum"][None, :]))

        columns = {"source": source, "target_scale": target_scale}
        of_rows, _ = by_blocks(log_sums, {"source": source}, columns, self.block_size)
        rows = {"a": a, "source": source} | of_rows
        columns = {"b": b, "scale": scale} | columns | of_rows
        per_row = cross_entropies(tile, rows, columns, "both", self.block_size)
        return weighted_mean(mean_of_directions(*per_row), sample_weight)
