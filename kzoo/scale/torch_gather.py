"""Rows of all processes as one tensor, with a gradient to the own ones."""

from functools import cache
from typing import Any


@cache
def _functions():
    """`Gather` and `Summed`, which are made where torch is there."""
    import torch
    import torch.distributed as dist

    class Gather(torch.autograd.Function):
        """All-gather whose backward pass needs no communication.

        Every process computes the same loss of the same rows, so each has the gradient to its own rows already. What
        the processes then average is `count` times too small, as each sees one part of the sum: hence the factor.
        """

        @staticmethod
        def forward(context, tensor, counts, index) -> Any:
            context.counts, context.index, context.rows = counts, index, tensor.shape[0]
            most = max(*counts, 1)
            padded = tensor[: counts[index]]
            if len(padded) < most:
                padded = torch.cat([padded, padded.new_zeros((most - len(padded), *tensor.shape[1:]))])
            parts = [torch.empty_like(padded, memory_format=torch.contiguous_format) for _ in counts]
            dist.all_gather(parts, padded.contiguous())
            return torch.cat([part[:rows] for part, rows in zip(parts, counts)])

        @staticmethod
        def backward(context, gradient) -> tuple:
            start, own = sum(context.counts[: context.index]), context.counts[context.index]
            found = gradient[start : start + own] * len(context.counts)
            if own < context.rows:  # of a row that stands in for none
                found = torch.cat([found, found.new_zeros((context.rows - own, *found.shape[1:]))])
            return found, None, None

    class Summed(torch.autograd.Function):
        """The sum over all processes, of a tensor that each goes on with in its own way; so are gradients."""

        @staticmethod
        def forward(context, tensor) -> Any:
            total = tensor.clone(memory_format=torch.contiguous_format)
            dist.all_reduce(total)
            return total

        @staticmethod
        def backward(context, gradient) -> Any:
            total = gradient.clone(memory_format=torch.contiguous_format)
            dist.all_reduce(total)
            return total

    return Gather, Summed


def gathered(tensor, axis, counts, index) -> Any:
    """The rows of all processes, in their order.

    Args:
        tensor: whose rows lie on `axis`; of them the first `counts[index]` are gathered.
        counts: rows of each process.
        index: of this process.
    """
    import torch

    gather, _ = _functions()
    # what not every library of collectives moves
    moved_as = {torch.bool: torch.uint8, torch.int16: torch.int32}.get(tensor.dtype, tensor.dtype)
    moved = tensor.to(moved_as)
    whole = gather.apply(moved.movedim(axis, 0), tuple(counts), index).movedim(0, axis)
    return whole.to(tensor.dtype)


def whole_moments(x, axes, mask, counts_here) -> tuple:
    """Mean and variance of the rows of all processes, `(channels,)`.

    Args:
        x: float tensor, the rows of this process.
        axes: that are averaged over.
        mask: bool tensor of the shape of `x` without channels, or None.
        counts_here: whether the rows of this process count; else they stand in for none.
    """
    import torch

    _, summed = _functions()
    weight = torch.ones_like(x[..., :1]) if mask is None else mask[..., None].to(x.dtype)
    weight = (weight if counts_here else torch.zeros_like(weight)).expand_as(x)
    count = summed.apply(weight.sum(axes)).clamp(min=1.0)
    mean = summed.apply((weight * x).sum(axes)) / count
    shape = [1 if axis in axes else size for axis, size in enumerate(x.shape)]
    variance = summed.apply((weight * (x - mean.reshape(shape)).square()).sum(axes)) / count
    return mean, variance
