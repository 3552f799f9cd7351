from kzoo import (
    adaptation,
    data,
    decoding,
    encoders,
    evaluation,
    export,
    layers,
    losses,
    models,
    preprocessing,
    presets,
    retrieval,
    scale,
    training,
    weights,
)
from kzoo.adaptation.adapt import adapt
from kzoo.bases import keras
from kzoo.models import Captioner, DualEncoder, MatchingEncoder, MultiEncoder, SelfSupervised
from kzoo.presets import describe, list_presets
from kzoo.presets.loader import from_preset
from kzoo.saving import load_model

__all__ = [
    "Captioner",
    "DualEncoder",
    "MatchingEncoder",
    "MultiEncoder",
    "SelfSupervised",
    "__version__",
    "adapt",
    "adaptation",
    "data",
    "decoding",
    "describe",
    "encoders",
    "evaluation",
    "export",
    "from_preset",
    "keras",
    "layers",
    "list_presets",
    "load_model",
    "losses",
    "models",
    "preprocessing",
    "presets",
    "retrieval",
    "scale",
    "training",
    "weights",
]

__version__: str
