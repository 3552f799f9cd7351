"""Pairs from csv, jsonl, folders and arrays; the icons of the demo; hard negatives of a batch."""

from importlib import import_module

from kzoo.data.hard_negatives import draw_hard_negatives, hard_negative_probabilities
from kzoo.data.icon_fonts import icons

__all__ = ["PairDataset", "draw_hard_negatives", "hard_negative_probabilities", "icons", "pairs"]


def __getattr__(name):
    if name in ("pairs", "PairDataset"):  # these need Keras
        return getattr(import_module("kzoo.data.dataset"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
