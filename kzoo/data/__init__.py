"""Pairs from csv, jsonl, folders and arrays; augmented views of pictures; hard negatives; the icons of the demo."""

from importlib import import_module

from kzoo.data.hard_negatives import draw_hard_negatives, hard_negative_probabilities
from kzoo.data.icon_fonts import icons
from kzoo.data.samplers import DistinctGroups, SameGroup

_NAMES = {  # these need Keras
    "PairDataset": "kzoo.data.dataset",
    "ViewDataset": "kzoo.data.view_dataset",
    "pairs": "kzoo.data.dataset",
    "views": "kzoo.data.view_dataset",
}

__all__ = ["DistinctGroups", "SameGroup", "draw_hard_negatives", "hard_negative_probabilities", "icons", *_NAMES]


def __getattr__(name):
    if name in _NAMES:
        return getattr(import_module(_NAMES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
