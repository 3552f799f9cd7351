"""PyTorch: the processes of torchrun."""

from collections.abc import Iterator
from contextlib import contextmanager

from kzoo.scale.one_device import averaged, count, dealt, part_of, process, scope_of, shared, whole_statistics

__all__ = ["averaged", "count", "dealt", "part_of", "process", "scope_of", "shared", "started", "whole_statistics"]


@contextmanager
def started(devices) -> Iterator:
    """What `kzoo.scale.start` does; one device needs nothing."""
    if devices not in (None, 1):
        raise NotImplementedError(f"devices is {devices}, but one device is taken on PyTorch; leave it out.")
    yield
