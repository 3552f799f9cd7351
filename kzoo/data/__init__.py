"""Pairs from csv, jsonl, folders, arrays and shards; views; samplers; hard negatives; the demo icons."""

from kzoo.data.clusters import clusterings
from kzoo.data.crops import Crops
from kzoo.data.episodes import Episodes, GroupShares, InversePropensity
from kzoo.data.hard_negatives import draw_hard_negatives, hard_negative_probabilities
from kzoo.data.icon_fonts import icons
from kzoo.data.matrices import Edges, Likeness, Lookup, Separations
from kzoo.data.neighbours import NearEmbeddings, NearLocations
from kzoo.data.samplers import DistinctGroups, SameGroup
from kzoo.lazy import lazy

_NAMES = {  # these need Keras
    "PairDataset": "kzoo.data.pair_dataset",
    "ShardDataset": "kzoo.data.streams.dataset",
    "TextDataset": "kzoo.data.text_dataset",
    "ViewDataset": "kzoo.data.view_dataset",
    "pairs": "kzoo.data.dataset",
    "shards": "kzoo.data.streams.reading",
    "text_pairs": "kzoo.data.text_dataset",
    "text_views": "kzoo.data.text_dataset",
    "views": "kzoo.data.view_dataset",
    "write_index": "kzoo.data.streams.writing",
    "write_shards": "kzoo.data.streams.writing",
}

__all__ = [
    "Crops",
    "DistinctGroups",
    "Edges",
    "Episodes",
    "GroupShares",
    "InversePropensity",
    "Likeness",
    "Lookup",
    "NearEmbeddings",
    "NearLocations",
    "SameGroup",
    "Separations",
    "clusterings",
    "draw_hard_negatives",
    "hard_negative_probabilities",
    "icons",
    *_NAMES,
]
__getattr__ = lazy(__name__, _NAMES)


def __dir__() -> list[str]:
    return sorted(__all__)
