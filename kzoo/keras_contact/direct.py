"""Layers that are called without what Keras does around a call."""

from typing import Any

import keras


class CalledDirectly:
    """Mixin of a layer of one input, without a state: on torch its operations run at once where nothing else happens.

    What Keras does around them (signatures, scopes, masks, types) takes ten times as long as a product of a few rows,
    and a decoder makes hundreds of those for each word. It is left out where it would do nothing: for a built layer of
    float32 within others of float32, not quantised, that no hook of torch watches.
    """

    def __call__(self, *args, **kwargs) -> Any:
        if len(args) == 1 and not kwargs and _is_plain(self, args[0]):
            return self.call(args[0])
        return super().__call__(*args, **kwargs)


def _is_plain(layer, x):
    if keras.config.backend() != "torch" or not layer.built or layer.quantization_mode is not None:
        return False
    import torch

    casts = keras.src.backend.get_autocast_scope() is not None
    if casts or not isinstance(x, torch.Tensor) or x.dtype != torch.float32 or x.device.type == "meta":
        return False
    watched = layer._forward_hooks or layer._forward_pre_hooks or layer._backward_hooks or layer._backward_pre_hooks
    float32 = layer.compute_dtype == layer.variable_dtype == "float32"
    return float32 and not watched and getattr(x, "_keras_mask", None) is None and not torch.compiler.is_compiling()
