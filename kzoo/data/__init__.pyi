from kzoo.data.clusters import clusterings
from kzoo.data.crops import Crops
from kzoo.data.dataset import pairs
from kzoo.data.episodes import Episodes, GroupShares, InversePropensity
from kzoo.data.hard_negatives import draw_hard_negatives, hard_negative_probabilities
from kzoo.data.icon_fonts import icons
from kzoo.data.matrices import Edges, Likeness, Lookup, Separations
from kzoo.data.neighbours import NearEmbeddings, NearLocations
from kzoo.data.pair_dataset import PairDataset
from kzoo.data.samplers import DistinctGroups, SameGroup
from kzoo.data.streams.dataset import ShardDataset
from kzoo.data.streams.reading import shards
from kzoo.data.streams.writing import write_index, write_shards
from kzoo.data.text_dataset import TextDataset, text_pairs, text_views
from kzoo.data.view_dataset import ViewDataset, views

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
    "PairDataset",
    "SameGroup",
    "Separations",
    "ShardDataset",
    "TextDataset",
    "ViewDataset",
    "clusterings",
    "draw_hard_negatives",
    "hard_negative_probabilities",
    "icons",
    "pairs",
    "shards",
    "text_pairs",
    "text_views",
    "views",
    "write_index",
    "write_shards",
]
