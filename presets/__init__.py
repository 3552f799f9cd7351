"""One JSON table per family, and the one loader that reads it."""

from importlib import import_module

from kzoo.presets.table import describe, list_presets, read_row

__all__ = ["describe", "from_preset", "list_presets", "read_row"]


def __getattr__(name):
    if name == "from_preset":  # the only one that needs Keras
        return import_module("kzoo.presets.loader").from_preset
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
