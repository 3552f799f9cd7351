"""Programs of torch without what traces note beside the operations of a tower."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager


def leaving_out_casts() -> AbstractContextManager:
    """A context in which a tensor that is wanted on its own device, or in its own type, is handed back as it is.

    Keras asks for that around each operation, and torch notes a cast and a check of it each time: two operations of
    three.
    """
    import torch

    class LeavingOut(torch.overrides.TorchFunctionMode):
        def __torch_function__(self, function, types, args=(), kwargs=None):
            if function is torch.Tensor.to and len(args) == 2 and not kwargs and _is_so(torch, *args):
                return args[0]
            return function(*args, **kwargs or {})

    return LeavingOut()


def _is_so(torch, tensor, wanted):
    """Whether a tensor has a type, or is on a device."""
    if isinstance(wanted, torch.dtype):
        return tensor.dtype == wanted
    if not isinstance(wanted, str | torch.device):
        return False
    device = torch.device(wanted)
    if device.index is None and device.type == tensor.device.type != "cpu":
        device = torch.device(device.type, torch.accelerator.current_device_index())
    return tensor.device == device


@contextmanager
def without_stacks() -> Iterator:
    """Torch notes for each node the lines of code that made it, which takes a sixth of an export; nothing reads them
    afterwards."""
    import torch.fx.config as config

    before = config.do_not_emit_stack_traces
    config.do_not_emit_stack_traces = True
    try:
        yield
    finally:
        config.do_not_emit_stack_traces = before
