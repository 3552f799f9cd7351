from kzoo.data.dataset import PairDataset, pairs
from kzoo.data.hard_negatives import draw_hard_negatives, hard_negative_probabilities
from kzoo.data.icon_fonts import icons
from kzoo.data.samplers import DistinctGroups, SameGroup
from kzoo.data.view_dataset import ViewDataset, views

__all__ = [
    "DistinctGroups",
    "PairDataset",
    "SameGroup",
    "ViewDataset",
    "draw_hard_negatives",
    "hard_negative_probabilities",
    "icons",
    "pairs",
    "views",
]
