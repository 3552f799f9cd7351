"""Functions of torch whose gradients are written out, and the gradients that those have in turn.

To torch all that a written gradient holds is a constant: a second derivative would lack what depends on it, and nothing
would say so. Where one may follow, the gradient is made of operations that torch records.
"""

from functools import cache
from typing import Any


def own_gradient(function, inputs) -> Any:
    """What a function makes of tensors, see `kzoo.layers.own_gradient`."""
    import torch

    from kzoo.layers.kernels_torch import transformed

    if transformed() or not torch.is_grad_enabled():
        return function(*inputs)[0]
    return _own().apply(function, *inputs)


@cache
def _own() -> Any:
    import torch

    class Own(torch.autograd.Function):
        @staticmethod
        def forward(context, function, *inputs):
            outputs, context.gradients = function(*inputs)
            context.function = function
            context.save_for_backward(*inputs)
            return outputs

        @staticmethod
        def backward(context, *upstream):
            gradients = context.gradients
            if torch.is_grad_enabled():  # once more, so that what it holds is recorded
                _, gradients = context.function(*context.saved_tensors)
            return None, *gradients(*upstream)

    return Own


def recorded_gradients(function, inputs, wanted, upstream) -> list:
    """Gradients of a function that have gradients themselves.

    Args:
        function: of the inputs, to a tuple of tensors; torch records all that it does.
        inputs: tensors, or None.
        wanted: of each input whether its gradient is asked for; the others get None.
        upstream: gradients of the outputs.
    """
    import torch

    # of one input another may be made: each stands at the beginning here
    own = [each.view_as(each) if asked else each for each, asked in zip(inputs, wanted)]
    places = [place for place, asked in enumerate(wanted) if asked]
    pairs = [(each, up) for each, up in zip(function(*own), upstream, strict=True) if each.requires_grad]
    gradients = [None] * len(own)
    if pairs:
        ends, ups = zip(*pairs)
        starts = [own[place] for place in places]
        found = torch.autograd.grad(ends, starts, ups, create_graph=True, allow_unused=True)
        for place, gradient in zip(places, found):
            gradients[place] = gradient
    return gradients
