"""Verified graphs that run without Keras, and the runtime that runs them."""

from importlib import import_module

__all__ = ["ExportError", "export", "runtime"]


def __getattr__(name):
    if name in ("export", "ExportError"):  # these need Keras, the runtime must not import it
        return getattr(import_module("kzoo.export.exporter"), name)
    if name == "runtime":
        return import_module("kzoo.export.runtime")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
