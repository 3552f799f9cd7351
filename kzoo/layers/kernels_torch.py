"""What torch does better than operation by operation: products with a matrix, attention, norms, activations.

On a CPU torch multiplies in float32 by MKL, which has slow kernels for the processors of other makers than its own,
half as fast as those of oneDNN there, and for its own the faster ones (`benchmarks/linear.py`). torch is built with
oneDNN and gives its convolutions to it; on processors of others the product is taken from there, by the operation that
`torch.compile` also makes of a linear layer.
"""

import platform
from functools import cache
from pathlib import Path
from typing import Any

from kzoo.types import Tensor

MAKER = "GenuineIntel"  # of processors, and of MKL
PROCESSORS = Path("/proc/cpuinfo")  # says who made them, where there is such a file
# below, to prepare a call of oneDNN takes longer than the product by MKL
FEWEST_ROWS = 4
FEWEST_PRODUCTS = 2**22
VOCABULARY = 2**14  # columns from which two rows are enough
LOWEST = -0.7 * 3.38953e38  # what Keras adds to a score that is masked


def runs_now(*tensors) -> bool:
    """Whether operations on some tensors are carried out as they are called, and not traced: a compiler or exporter
    chooses for itself."""
    return chosen_here(*tensors) and not recorded()


def chosen_here(*tensors) -> bool:
    """As `runs_now`, and also where operations are recorded for `kzoo.models.compiled_towers`, which takes products
    and attention as they come and joins the rest."""
    import torch

    return all(isinstance(each, torch.Tensor) for each in tensors) and not (
        torch.compiler.is_compiling() or torch.jit.is_tracing() or transformed()
    )


def transformed() -> bool:
    """Whether a function is transformed that these operations are of (`torch.func.vmap`, `jvp`, `grad`; tangents of
    `torch.autograd.forward_ad`): torch knows how of its plain operations, and not of kernels with gradients of ours."""
    import torch

    if torch.compiler.is_compiling():  # which knows of transformations by itself
        return False
    return torch._C._are_functorch_transforms_active() or torch.autograd.forward_ad._current_level >= 0


def recorded() -> bool:
    """Whether operations are recorded as they are called."""
    from torch.fx.experimental.proxy_tensor import get_proxy_mode

    return get_proxy_mode() is not None


def multiplied(x, kernel, bias=None) -> Tensor | None:
    """`x kernel + bias`, or None where the operations of Keras are to be used: see `runs_now`, and in mixed types.

    Args:
        x: tensor `(..., d_in)`.
        kernel: tensor `(d_in, d_out)`.
        bias: tensor `(d_out,)`, or None.
    """
    import torch

    if not chosen_here(x, kernel) or x.dtype != kernel.dtype or x.ndim < 2:
        return None
    if not _by_onednn(x, kernel):
        return torch.nn.functional.linear(x, kernel.t(), bias)
    rows = x.reshape(-1, x.shape[-1])
    if recorded():
        product = _operation()(rows, kernel, bias)
    else:
        product = (_products().apply if torch.is_grad_enabled() else _product)(rows, kernel, bias)
    return product.reshape(*x.shape[:-1], kernel.shape[-1])


def _by_onednn(x, kernel):
    import torch

    rows = x.numel() // x.shape[-1]
    return (
        x.device.type == "cpu"
        and x.dtype == torch.float32
        and onednn_is_faster()
        and not torch.is_autocast_enabled("cpu")
        and (rows >= FEWEST_ROWS or (rows > 1 and kernel.shape[-1] >= VOCABULARY))
        and x.numel() * kernel.shape[-1] >= FEWEST_PRODUCTS
    )


@cache
def onednn_is_faster() -> bool:
    """Whether oneDNN's product is there, and MKL is written for another maker's processors. This is not timed, so that
    a program gives the same bits each time."""
    import torch

    there = torch.backends.mkldnn.is_available() and hasattr(torch.ops.mkldnn, "_linear_pointwise")
    said = PROCESSORS.read_text("utf-8", "replace") if PROCESSORS.exists() else platform.processor()
    return there and torch.backends.mkl.is_available() and MAKER not in said


def _product(x, kernel, bias=None):
    import torch

    return torch.ops.mkldnn._linear_pointwise(_dense(x), _dense(kernel).t(), bias, "none", [], "")


def _dense(matrix):
    """A matrix whose numbers lie beside each other, by rows or by columns: for one that is cut out of a wider one, as a
    chunk of a vocabulary is, oneDNN has a kernel that takes a thousand times as long."""
    return matrix if matrix.is_contiguous() or matrix.t().is_contiguous() else matrix.contiguous()


def _gradients(context, upstream, product):
    """Those of a product, by products: to `x`, to the kernel and to the bias, as far as they are wanted."""
    x, kernel = context.saved_tensors
    wanted = context.needs_input_grad
    return (
        product(upstream, kernel.t(), None) if wanted[0] else None,
        product(x.t(), upstream, None) if wanted[1] else None,
        upstream.sum(0) if wanted[2] else None,
    )


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
            return _gradients(context, upstream, Products.apply if torch.is_grad_enabled() else _product)

    return Products


@cache
def _operation() -> Any:
    """The product as an operation with a name and a gradient, which `torch.compile` leaves as it is."""
    import torch

    def product(x, kernel, bias):
        return _product(x, kernel, bias)

    def of_shape(x, kernel, bias):
        return x.new_empty((x.shape[0], kernel.shape[1]))

    def keep(ctx, inputs, output):  # torch gives it by these names
        ctx.save_for_backward(*inputs[:2])

    def backward(ctx, upstream):
        return _gradients(ctx, upstream, torch.ops.kzoo.product)

    schema = "(Tensor x, Tensor kernel, Tensor? bias) -> Tensor"
    operation = torch.library.custom_op("kzoo::product", product, mutates_args=(), schema=schema)
    operation.register_fake(of_shape)
    operation.register_autograd(backward, setup_context=keep)
    return torch.ops.kzoo.product


def on_processor(*tensors) -> bool:
    """Whether tensors of float32 lie on a CPU, and no autocast is on: where torch has one kernel for each operation."""
    import torch

    return not torch.is_autocast_enabled("cpu") and all(
        isinstance(each, torch.Tensor) and each.device.type == "cpu" and each.dtype == torch.float32 for each in tensors
    )


def attended(query, key, value, mask=None, causal=False) -> Tensor:
    """Attention as `kzoo.layers.attention.attend`, whose kernel reads heads where they lie: Keras copies all three.

    Args:
        query, key, value: float32 tensors `(batch, heads, length, d)`.
        mask: bool tensor that broadcasts to `(batch, heads, T, S)`, or None.
        causal: as ever; not beside a mask.

    Returns:
        float32 tensor `(batch, heads, T, d)`.
    """
    import torch

    if mask is not None:
        mask = torch.where(mask, 0.0, LOWEST)
    return torch.nn.functional.scaled_dot_product_attention(query, key, value, attn_mask=mask, is_causal=causal)


def written(cache, new, at) -> Tensor:
    """A copy of `cache` `(rows, heads, S, d)` with `new` `(rows, heads, 1, d)` where `at` `(rows, S)` is True, once in
    each row: `where`, of what broadcasts, takes four times as long."""
    cache = cache.clone()
    cache.transpose(1, 2)[at] = new[:, :, 0]
    return cache


def layer_norm(x, gain, bias, epsilon) -> Tensor:
    """The norm over the last axis, as the operation of Keras."""
    import torch

    return torch.nn.functional.layer_norm(x, x.shape[-1:], gain, bias, epsilon)


def gelu(x) -> Tensor:
    """The exact GELU."""
    import torch

    return torch.nn.functional.gelu(x)


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
            slope = (1.0 - sigmoid).mul_(x).mul_(1.702).add_(1.0).mul_(sigmoid)
            del sigmoid  # whose memory the product takes, which is not made in place: there may be several upstream
            return slope * upstream

    return QuickGelu
