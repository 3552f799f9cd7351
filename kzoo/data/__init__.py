"""Pairs from csv, jsonl, folders and arrays; augmented views of pictures; hard negatives; the icons of the demo."""

from kzoo.data.hard_negatives import draw_hard_negatives, hard_negative_probabilities
from kzoo.data.icon_fonts import icons
from kzoo.data.samplers import DistinctGroups, SameGroup
from kzoo.lazy import lazy

_NAMES = {  # these need Keras
    "PairDataset": "kzoo.data.dataset",
    "ViewDataset": "kzoo.data.view_dataset",
    "pairs": "kzoo.data.dataset",
    "views": "kzoo.data.view_dataset",
}

__all__ = ["DistinctGroups", "SameGroup", "draw_hard_negatives", "hard_negative_probabilities", "icons", *_NAMES]
__getattr__ = lazy(__name__, _NAMES)


def __dir__():
    return sorted(__all__)
