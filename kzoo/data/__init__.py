"""Pairs from csv, jsonl, folders and arrays; the icons of the demo."""

from importlib import import_module

from kzoo.data.icon_fonts import icons

__all__ = ["PairDataset", "icons", "pairs"]


def __getattr__(name):
    if name in ("pairs", "PairDataset"):  # these need Keras
        return getattr(import_module("kzoo.data.dataset"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
