"""FocalSupCon, the contrastive term of Core-tuning."""

import keras
from keras import ops

from kzoo.losses.labels.supcon import SupCon
from kzoo.types import Tensor


@keras.saving.register_keras_serializable(package="kzoo")
class FocalSupCon(SupCon):
    """SupCon that looks most at the positives which are still hard to find.

    With `p_ij` as in `SupCon`: `L_i = - (1/|P(i)|) sum_(j in P(i)) (1 - p_ij) log p_ij`. The gradient flows through
    the weight `1 - p_ij`, as in the authors' code; the divisor is the number of positives, as in the paper (their
    code divides by the batch).

    Args:
        temperature: a float or a `LearnableTemperature`.
        block_size: rows compared at a time, exact and with less memory, or `"auto"`; None: all at once.
        inputs: names of the one or two views to read; default `("view_1", "view_2")`.

    Inputs:
        a, b: float tensors `(batch, dim)`, the views; they are normalised. `b` may be left out.
        labels: int tensor `(batch,)`, the classes.
        mask: tensor `(batch, batch)` of weights instead of labels, called `positives` in a batch.
        sample_weight: float tensor `(batch,)`, weighs anchors.

    Feeding:
        `SelfSupervised(encoder)` and `kzoo.data.views({"images": images, "labels": labels}, steps)`; a mask is
        `matrices={"positives": Lookup(matrix)}`.

    Returns:
        float32 scalar, never above `SupCon` of the same temperature; 0 when no anchor has a positive.

    Raises:
        ValueError: labels and mask together; one view with neither; a mask that is not `(batch, batch)`.

    Recommendations:
        For tuning a pretrained tower beside a cross-entropy; the paper adds it with weight 10 and feeds the head of
        both with mixtures of `kzoo.losses.mix_hard_pairs`. From scratch `SupCon` is the plainer choice.

    Example:
        >>> FocalSupCon(temperature=1.0)(np.eye(4), labels=np.array([0, 0, 1, 1]))
        0.7324

    Reference:
        Zhang et al., Unleashing the Power of Contrastive Self-Supervised Visual Models via Contrast-Regularized
        Fine-Tuning (Core-tuning), 2021, arXiv 2102.06605.
    """

    def __init__(self, temperature=0.07, block_size=None, inputs=None, **kwargs):
        super().__init__(temperature, block_size=block_size, inputs=inputs, **kwargs)

    def attraction(self, log_p) -> Tensor:
        return (1.0 - ops.exp(log_p)) * log_p
