"""Products with frozen kernels of 8 bits that hold one kernel in more bits at a time."""

from typing import Any

import keras
from keras import ops

from kzoo.types import Tensor


def needs_order(layer) -> bool:
    """Whether a compiler could make wide copies of the kernels of all layers before it needs them: that of jax and
    TensorFlow does, as nothing but the kernel is needed for one."""
    return layer.quantization_mode == "int8" and keras.config.backend() in ("jax", "tensorflow")


def int8_product(x, kernel, kernel_scale, quantizer, dtype) -> Tensor:
    """What Keras makes of `x` and a kernel of 8 bits, with the wide kernel made when it is needed and let go, in both
    directions.

    Args:
        x: float tensor `(..., d_in)`.
        kernel: int8 tensor `(d_in, d_out)`.
        kernel_scale: float tensor `(d_out,)`, what the kernel was multiplied by.
        quantizer: function of `x` and an axis to `x` in 8 bits and its scale; None leaves it in floats.
        dtype: of the product.

    Returns:
        float tensor `(..., d_out)`; the gradient is that of `x`.
    """

    @ops.custom_gradient
    def product(x, kernel, kernel_scale):
        def gradient(*given, upstream=None) -> Any:
            upstream = given[0] if upstream is None else upstream
            wide = ops.divide(ops.cast(_after(upstream, kernel), dtype), kernel_scale)
            return ops.matmul(upstream, ops.transpose(wide)), None, None

        scale = kernel_scale
        if quantizer is not None:
            x, x_scale = quantizer(x, axis=-1)
            scale = ops.multiply(scale, x_scale)
        y = ops.cast(ops.matmul(x, _after(scale, kernel)), dtype)
        return ops.divide(y, scale), gradient

    return product(x, kernel, kernel_scale)


def _after(x, kernel):
    """The kernel, which now depends on a float tensor: 1 is added where the first number of that is NaN."""
    return ops.add(kernel, ops.cast(ops.isnan(ops.reshape(x, (-1,))[0]), "int8"))
