"""Gates that are exactly open or shut and yet have a gradient: the hard concrete distribution."""

import math

from keras import ops

from kzoo.types import Tensor

TEMPERATURE, LOW, HIGH = 2.0 / 3.0, -0.1, 1.1  # of the stretched interval, whose ends are cut off
EDGE = 1e-6  # of uniform numbers


def drawn(log_alpha, uniform) -> Tensor:
    """Gates in [0, 1]: `clip((HIGH - LOW) sigmoid((log u - log(1 - u) + log_alpha) / TEMPERATURE) + LOW)`.

    Args:
        log_alpha: float tensor, the larger the likelier open.
        uniform: float tensor of its shape, numbers in [0, 1).

    Reference:
        Louizos et al., Learning Sparse Neural Networks through L0 Regularization, 2017, arXiv 1712.01312.
    """
    uniform = ops.clip(uniform, EDGE, 1.0 - EDGE)
    return _cut((ops.log(uniform) - ops.log(1.0 - uniform) + log_alpha) / TEMPERATURE)


def settled(log_alpha) -> Tensor:
    """The same without chance: what stands in the middle."""
    return _cut(log_alpha / TEMPERATURE)


def open_share(log_alpha) -> Tensor:
    """How likely each gate is not shut, in (0, 1)."""
    return ops.sigmoid(log_alpha - TEMPERATURE * math.log(-LOW / HIGH))


def _cut(x):
    return ops.clip((HIGH - LOW) * ops.sigmoid(x) + LOW, 0.0, 1.0)
