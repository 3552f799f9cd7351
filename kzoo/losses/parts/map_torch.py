"""A function of blocks on torch, whose gradient computes one block again at a time and adds up in place.

`torch.utils.checkpoint` would do with less text, but keeps of every block some arrays as large as its scores.
"""

from functools import cache, partial
from typing import Any

from kzoo.layers.own_gradient_torch import recorded_gradients


def mapped(function, blocks, columns) -> list:
    """`function(*rows of a block, *columns)`, a tuple of tensors, of every block: a list of them, stacked.

    Args:
        function: uses no tensor that is trained but its arguments, see `kzoo.losses.parts.captures`.
        blocks: tensors `(blocks, rows, ...)`.
        columns: tensors that every block sees whole.
    """
    return list(_recomputing().apply(function, len(blocks), *blocks, *columns))


@cache
def _recomputing() -> Any:
    import torch

    class Recomputing(torch.autograd.Function):
        @staticmethod
        def forward(context, function, count, *values):
            context.function, context.count = function, count
            context.save_for_backward(*values)
            blocks, columns = values[:count], values[count:]
            results = None
            for place in range(len(blocks[0])):
                found = function(*(each[place] for each in blocks), *columns)
                if results is None:
                    results = [each.new_empty((len(blocks[0]), *each.shape)) for each in found]
                for whole, each in zip(results, found, strict=True):
                    whole[place] = each
            return tuple(results)

        @staticmethod
        def backward(context, *upstream):
            count, values = context.count, context.saved_tensors
            if torch.is_grad_enabled():  # a second derivative may follow, to which all blocks are held
                stacked, wanted = partial(_stacked, context.function, count), context.needs_input_grad[2:]
                return None, None, *recorded_gradients(stacked, values, wanted, upstream)
            trained = [place for place, wanted in enumerate(context.needs_input_grad[2:]) if wanted]
            found = [torch.zeros_like(each) if place in trained else None for place, each in enumerate(values)]
            for block in range(len(values[0])):
                own = [each[block] if place < count else each for place, each in enumerate(values)]
                own = [each.detach().requires_grad_(place in trained) for place, each in enumerate(own)]
                with torch.enable_grad():
                    results = context.function(*own)
                pairs = [(each, up[block]) for each, up in zip(results, upstream, strict=True) if each.requires_grad]
                inputs = [own[place] for place in trained]
                if not pairs:
                    continue
                of_results, ups = zip(*pairs)
                gradients = torch.autograd.grad(of_results, inputs, ups, allow_unused=True)
                for place, gradient in zip(trained, gradients):
                    if gradient is not None:
                        (found[place][block] if place < count else found[place]).add_(gradient)
            return None, None, *found

    return Recomputing


def _stacked(function, count, *values):
    import torch

    blocks, columns = values[:count], values[count:]
    found = [function(*rows, *columns) for rows in zip(*blocks)]
    return tuple(torch.stack(each) for each in zip(*found))
