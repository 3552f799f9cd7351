"""What is trained of a model, and what is added to it: names of weights, freezing, low-rank updates."""

from kzoo.lazy import lazy

_NAMES = {  # these need Keras
    "LoRA": "kzoo.adaptation.lora",
    "TrainableReport": "kzoo.adaptation.report",
    "activate": "kzoo.adaptation.lora",
    "adapters": "kzoo.adaptation.lora",
    "add_adapter": "kzoo.adaptation.lora",
    "freeze": "kzoo.adaptation.freezing",
    "load_adapter": "kzoo.adaptation.adapter_files",
    "merge": "kzoo.adaptation.lora",
    "remove_adapter": "kzoo.adaptation.lora",
    "save_adapter": "kzoo.adaptation.adapter_files",
    "trainable_report": "kzoo.adaptation.report",
    "unfreeze": "kzoo.adaptation.freezing",
    "unmerge": "kzoo.adaptation.lora",
}

__all__ = [*_NAMES]
__getattr__ = lazy(__name__, _NAMES)


def __dir__() -> list[str]:
    return sorted(__all__)
