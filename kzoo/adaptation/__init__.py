"""What is trained of a model, and what is added to it: names of weights, freezing, low-rank updates."""

from kzoo.lazy import lazy

_NAMES = {  # these need Keras
    "TrainableReport": "kzoo.adaptation.report",
    "freeze": "kzoo.adaptation.freezing",
    "trainable_report": "kzoo.adaptation.report",
    "unfreeze": "kzoo.adaptation.freezing",
}

__all__ = [*_NAMES]
__getattr__ = lazy(__name__, _NAMES)


def __dir__() -> list[str]:
    return sorted(__all__)
