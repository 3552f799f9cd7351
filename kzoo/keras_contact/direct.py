"""Layers that are called without what Keras does around a call."""

from typing import Any

import keras

from kzoo.keras_contact.changes import SaysChanges

PLAIN = "float32"  # name of the policy by which nothing is cast and nothing quantised


class CalledDirectly(SaysChanges):
    """Mixin of a built layer: on torch its operations run at once where nothing else happens around them.

    What Keras does there (signatures, scopes, masks, types) takes ten times as long as a product of a few rows, and a
    decoder makes hundreds of those for each word. It is left out where it would do nothing: for a layer of float32
    within others of float32, not quantised, of tensors without masks, that no hook of torch watches. Its layers are
    asked one by one, each for itself.

    A `call` that takes `training` hands it on to all that asks for it.

    Attributes:
        heeds_training: whether it does something with it, where it takes it.
    """

    heeds_training = True

    def __call__(self, *args, **kwargs) -> Any:
        if keras.config.backend() == "torch" and _is_plain(self, args, kwargs):
            return self.call(*args, **kwargs)
        return super().__call__(*args, **kwargs)


def is_training() -> bool:
    """Whether Keras calls its layers to train them."""
    context = keras.src.backend.common.global_state.get_global_attribute("current_call_ctx")
    return context is not None and bool(context.get_value("training"))


def _is_plain(layer, args, kwargs):
    import torch
    from torch.nn.modules.module import _has_any_global_hook

    if not args or not layer.built or layer.dtype_policy.name != PLAIN or torch.compiler.is_compiling():
        return False
    if keras.src.backend.get_autocast_scope() is not None or layer._remat_mode or layer.activity_regularizer:
        return False
    device = keras.src.backend.torch.core.get_device().partition(":")[0]
    if "training" in kwargs and not layer._call_has_training_arg:  # Keras takes it, as functional models give it to all
        return False
    watched = layer._forward_hooks or layer._forward_pre_hooks or layer._backward_hooks or layer._backward_pre_hooks
    if watched or _has_any_global_hook():
        return False
    if not _is_tensor(torch, args[0], device):
        return False
    if not all(_is_taken(torch, each, device) for each in (*args[1:], *kwargs.values())):
        return False
    return not (layer._call_has_training_arg and layer.heeds_training) or _training_is_known(kwargs)


def _is_tensor(torch, x, device):
    """Whether Keras would take an argument as it is."""
    if not isinstance(x, torch.Tensor) or getattr(x, "_keras_mask", None) is not None:
        return False
    if x.device.type != device or device == "meta":
        return False
    return x.dtype == torch.float32 or not (x.dtype.is_floating_point or x.dtype.is_complex)


def _is_taken(torch, x, device):
    if x is None or isinstance(x, (bool, int)):
        return True
    return all(_is_taken(torch, each, device) for each in x) if isinstance(x, tuple) else _is_tensor(torch, x, device)


def _training_is_known(kwargs):
    """Says `training` to the layers within, as Keras would; False where it would have to be found out."""
    if "training" not in kwargs:
        return False
    context = keras.src.backend.common.global_state.get_global_attribute("current_call_ctx")
    if context is None:
        return kwargs["training"] is None
    context.set_value("training", kwargs["training"])
    return True
