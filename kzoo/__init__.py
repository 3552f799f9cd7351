"""kzoo: image-text models for Keras 3 on JAX, TensorFlow and PyTorch.

`import kzoo` is cheap: Keras is imported by the first name that needs it. The classes of a room are registered with
Keras when that room is; `kzoo.load_model` imports all of them and opens a `.keras` file.
"""

from importlib import import_module

from kzoo.backend import choose_backend, explain_missing

__version__ = "0.1.0"

_NAMES = {
    "from_preset": "kzoo.presets.loader",
    "list_presets": "kzoo.presets",
    "describe": "kzoo.presets",
    "load_model": "kzoo.saving",
    "Captioner": "kzoo.models",
    "DualEncoder": "kzoo.models",
    "MatchingEncoder": "kzoo.models",
    "MultiEncoder": "kzoo.models",
    "SelfSupervised": "kzoo.models",
}
_ROOMS = (
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
    "training",
    "weights",
)

__all__ = [*_NAMES, *_ROOMS]

choose_backend()


def __getattr__(name):
    try:
        if name in _NAMES:
            return getattr(import_module(_NAMES[name]), name)
        if name in _ROOMS:
            return import_module(f"kzoo.{name}")
    except ModuleNotFoundError as error:
        raise explain_missing(error) from error
    raise AttributeError(f"module 'kzoo' has no attribute {name!r}")


def __dir__():
    return sorted([*globals(), *__all__])
