"""One JSON table per family, and the one loader that reads it."""

from kzoo.lazy import lazy
from kzoo.presets.description import describe
from kzoo.presets.table import list_presets, read_row

_NAMES = {"from_preset": "kzoo.presets.loader"}  # the only one that needs Keras

__all__ = ["describe", "list_presets", "read_row", *_NAMES]
__getattr__ = lazy(__name__, _NAMES)


def __dir__() -> list[str]:
    return sorted(__all__)
