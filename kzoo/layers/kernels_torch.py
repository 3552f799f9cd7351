"""What torch does better than operation by operation: products with a matrix, and activations.

On a CPU torch multiplies in float32 by MKL, which has slow kernels for the processors of other makers, half as fast as
those of oneDNN there (`benchmarks/linear.py`). torch is built with oneDNN and gives its convolutions to it; the product
is taken from there, by the operation that `torch.compile` also makes of a linear layer.
"""

from functools import cache
from typing import Any

from kzoo.types import Tensor

# below, to prepare a call of oneDNN takes longer than the product by MKL
FEWEST_ROWS = 4
FEWEST_PRODUCTS = 2**22


def runs_now(*tensors) -> bool:
    """Whether operations on some tensors are carried out as they are called, and not traced: a compiler or exporter
    chooses for itself."""
    import torch

    return all(isinstance(each, torch.Tensor) for each in tensors) and not (
        torch.compiler.is_compiling() or torch.jit.is_tracing()
    )


def multiplied(x, kernel, bias=None) -> Tensor | None:
    """`x kernel + bias`, or None where the operations of Keras are to be used: see `runs_now`, and in mixed types.

    Args:
        x: tensor `(..., d_in)`.
        kernel: tensor `(d_in, d_out)`.
        bias: tensor `(d_out,)`, or None.
    """
    import torch

    if not runs_now(x, kernel) or x.dtype != kernel.dtype or x.ndim < 2:
        return None
    if not _by_onednn(x, kernel):
        return torch.nn.functional.linear(x, kernel.t(), bias)
    rows = x.reshape(-1, x.shape[-1])
    product = (_products().apply if torch.is_grad_enabled() else _product)(rows, kernel, bias)
    return product.reshape(*x.shape[:-1], kernel.shape[-1])


def _by_onednn(x, kernel):
    import torch

    return (
        x.device.type == "cpu"
        and x.dtype == torch.float32
        and _has_operation()
        and not torch.is_autocast_enabled("cpu")
        and x.numel() >= FEWEST_ROWS * x.shape[-1]
        and x.numel() * kernel.shape[-1] >= FEWEST_PRODUCTS
    )


@cache
def _has_operation():
    import torch

    return torch.backends.mkldnn.is_available() and hasattr(torch.ops.mkldnn, "_linear_pointwise")


def _product(x, kernel, bias=None):
    import torch

    return torch.ops.mkldnn._linear_pointwise(x, kernel.t(), bias, "none", [], "")


@cache
def _products() -> Any:
    import torch

    class Products(torch.autograd.Function):
        """The operation has no gradient of its own; this one has a gradient itself, as it is made of the same."""

        @staticmethod
        def forward(x, kernel, bias):
            return _product(x, kernel, bias)

        @staticmethod
        def setup_context(context, inputs, output):
            context.save_for_backward(*inputs[:2])

        @staticmethod
        def backward(context, upstream):
            x, kernel = context.saved_tensors
            product = Products.apply if torch.is_grad_enabled() else _product
            wanted = context.needs_input_grad
            return (
                product(upstream, kernel.t(), None) if wanted[0] else None,
                product(x.t(), upstream, None) if wanted[1] else None,
                upstream.sum(0) if wanted[2] else None,
            )

    return Products


def quick_gelu(x) -> Tensor:
    """`x * sigmoid(1.702 x)`, with half the passes over memory that its operations make."""
    import torch

    return _quick_gelu().apply(x) if torch.is_grad_enabled() else _sigmoid(x).mul_(x)


def _sigmoid(x):
    return (1.702 * x).sigmoid_()


@cache
def _quick_gelu() -> Any:
    import torch

    class QuickGelu(torch.autograd.Function):
        """The gradient is of tensors that are kept, so that it has one itself."""

        @staticmethod
        def forward(x):
            return _sigmoid(x).mul_(x)

        @staticmethod
        def setup_context(context, inputs, output):
            context.save_for_backward(*inputs)

        @staticmethod
        def backward(context, upstream):
            (x,) = context.saved_tensors
            if torch.is_grad_enabled():
                sigmoid = (1.702 * x).sigmoid()
                return upstream * sigmoid * (1.0 + 1.702 * x * (1.0 - sigmoid))
            sigmoid = _sigmoid(x)
            slope = (1.0 - sigmoid).mul_(x).mul_(1.702).add_(1.0)
            return slope.mul_(sigmoid).mul_(upstream)

    return QuickGelu
