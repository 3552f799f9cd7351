"""Losses: one per file, called with tensors, composed with `+` and `*`.

Every loss of this folder that is registered with Keras is public here, by the name of its class.
"""

import importlib
import pkgutil

import keras  # before this room's modules, see kzoo.backend.register_with_keras

from kzoo.losses.base import Loss, weighted_mean
from kzoo.losses.parts.hard_pairs import mix_hard_pairs
from kzoo.losses.parts.temperature import LearnableTemperature

__all__ = ["LearnableTemperature", "Loss", "mix_hard_pairs", "weighted_mean"]


def _losses_of(module):
    return [
        each
        for each in vars(module).values()
        if isinstance(each, type)
        and each.__module__ == module.__name__
        and issubclass(each, Loss)
        and keras.saving.get_registered_object(f"kzoo>{each.__name__}") is each
    ]


for _file in pkgutil.walk_packages(__path__, f"{__name__}."):
    for _loss in _losses_of(importlib.import_module(_file.name)):
        globals()[_loss.__name__] = _loss
        __all__.append(_loss.__name__)


def from_spec(spec):
    """The loss of a preset row: a list of `{"loss": class name, "weight": w, ...arguments}`.

    Example:
        >>> from_spec([{"loss": "InfoNCE"}, {"loss": "Captioning", "weight": 2.0}])
    """
    terms = [dict(term) for term in spec]
    built = [term.pop("weight", 1.0) * globals()[term.pop("loss")](**term) for term in terms]
    return built[0].terms[0] if len(built) == 1 and built[0].weights_of_terms == [1.0] else sum(built)
