"""Many devices, each by the engine of its own backend: start-up, and the way from a part of a batch to the whole."""

from kzoo.lazy import lazy

_NAMES = {  # these need Keras
    "layout_map": "kzoo.scale.layouts",
    "memory_estimate": "kzoo.scale.memory",
    "process": "kzoo.scale.engine",
    "start": "kzoo.scale.starting",
}

__all__ = [*_NAMES]
__getattr__ = lazy(__name__, _NAMES)


def __dir__() -> list[str]:
    return sorted(__all__)
