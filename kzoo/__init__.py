"""kzoo: image-text models for Keras 3 on JAX, TensorFlow and PyTorch.

`import kzoo` is cheap: Keras is imported by the first name that needs it. Where Keras was imported before, it learns of
kzoo's classes with `import kzoo`; else as their rooms are imported. `kzoo.load_model` opens a `.keras` file either way.

`from kzoo import keras` is Keras on the backend that kzoo has chosen. An `import keras` that stands first, as sorted
imports have it, is Keras on TensorFlow where `KERAS_BACKEND` is not set, and fails where TensorFlow is not installed.
"""

import sys
from importlib import import_module

from kzoo.actions import provide
from kzoo.backend import choose_backend
from kzoo.lazy import lazy

__version__ = "0.1.0"

_ROOMS = (
    "adaptation",
    "data",
    "decoding",
    "encoders",
    "evaluation",
    "export",
    "layers",
    "losses",
    "models",
    "preprocessing",
    "presets",
    "retrieval",
    "scale",
    "training",
    "weights",
)
_NAMES = {room: f"kzoo.{room}" for room in _ROOMS} | {
    "adapt": "kzoo.adaptation.adapt",
    "from_preset": "kzoo.presets.loader",
    "list_presets": "kzoo.presets",
    "describe": "kzoo.presets",
    "load_model": "kzoo.saving",
    "keras": "kzoo.bases",
    "Captioner": "kzoo.models",
    "DualEncoder": "kzoo.models",
    "MatchingEncoder": "kzoo.models",
    "MultiEncoder": "kzoo.models",
    "SelfSupervised": "kzoo.models",
}

__all__ = ["__version__", *_NAMES]
__getattr__ = lazy(__name__, _NAMES)


def __dir__() -> list[str]:
    return sorted(__all__)


choose_backend()
for _action, _place in {
    "save_to_preset": "kzoo.presets.save:save",
    "push_to_hub": "kzoo.presets.save:push",
    "export": "kzoo.export.exporter:export",
    "open_tower": "kzoo.presets.single_tower:open_tower",
    "open_class_head": "kzoo.presets.single_tower:open_class_head",
}.items():
    provide(_action, _place)
if "keras" in sys.modules:
    import_module("kzoo.saving")
