"""Losses: one per file, called with tensors, composed with `+` and `*`."""

import keras  # noqa: F401  before this room's modules, see kzoo.backend.register_with_keras

from kzoo.losses.base import Loss, WeightedSum, weighted_mean
from kzoo.losses.captioning import Captioning
from kzoo.losses.info_nce import InfoNCE
from kzoo.losses.sigmoid_contrastive import SigmoidContrastive
from kzoo.losses.temperature import LearnableTemperature

__all__ = [
    "Captioning",
    "InfoNCE",
    "LearnableTemperature",
    "Loss",
    "SigmoidContrastive",
    "WeightedSum",
    "weighted_mean",
]


def from_spec(spec):
    """The loss of a preset row: a list of `{"loss": class name, "weight": w, ...arguments}`.

    Example:
        >>> from_spec([{"loss": "InfoNCE"}, {"loss": "Captioning", "weight": 2.0}])
    """
    terms = [dict(term) for term in spec]
    built = [term.pop("weight", 1.0) * globals()[term.pop("loss")](**term) for term in terms]
    return built[0].terms[0] if len(built) == 1 and built[0].weights_of_terms == [1.0] else sum(built)
