"""Convolutions and batch norms of torch on CPUs, of maps whose channels come last.

Keras moves channels first and back, for which torch copies the map, and a kernel of one pixel then comes to a kernel of
torch's own that takes three times as long as the product. oneDNN reads channels where they are.
"""

from kzoo.layers.kernels_torch import chosen_here, multiplied, on_processor, transformed
from kzoo.types import Tensor


def convolved(x, kernel, strides, padding, groups=1) -> Tensor | None:
    """A map under a kernel, or None where the operations of Keras are to be used: while traced, and in other types.

    Args:
        x: tensor `(batch, height, width, channels)`.
        kernel: tensor `(rows, columns, channels / groups, filters)`, or `(rows, columns, channels, multiplier)` of as
            many groups as channels.
        strides, padding: pairs of integers; zeros on both sides.
        groups: of channels, each with filters of its own.

    Returns:
        tensor `(batch, rows, columns, filters)`.
    """
    import torch

    if transformed():  # where torch lays nothing out with channels last, as Keras does, either
        x, kernel = x.permute(0, 3, 1, 2), kernel.reshape(*kernel.shape[:2], x.shape[-1] // groups, -1)
        x = torch.nn.functional.conv2d(x, kernel.permute(3, 2, 0, 1), None, strides, padding, 1, groups)
        return x.permute(0, 2, 3, 1)
    if not chosen_here(x, kernel) or not on_processor(x, kernel):
        return None
    if kernel.shape[:2] == (1, 1) and tuple(strides) == (1, 1) and groups == 1 and not any(padding):
        return multiplied(x, kernel[0, 0])
    kernel = kernel.reshape(*kernel.shape[:2], x.shape[-1] // groups, -1)
    kernel = kernel.permute(3, 2, 0, 1).contiguous(memory_format=torch.channels_last)
    x = x.contiguous().permute(0, 3, 1, 2)
    return torch.nn.functional.conv2d(x, kernel, None, strides, padding, 1, groups).permute(0, 2, 3, 1)


def normed(x, gain, shift, mean, variance, epsilon) -> Tensor | None:
    """A batch norm by statistics that are known, in one pass; None as above.

    Args:
        x: float32 tensor `(..., channels)`.
        gain, shift, mean, variance: float32 tensors `(channels,)`.
        epsilon: beside the variance.
    """
    import torch

    held = (x, gain, shift, mean, variance)
    if not chosen_here(*held) or not on_processor(*held):
        return None
    rows = x.reshape(-1, x.shape[-1])
    return torch.nn.functional.batch_norm(rows, mean, variance, gain, shift, False, 0.0, epsilon).reshape(x.shape)
