from kzoo.adaptation.adapter_files import load_adapter, save_adapter
from kzoo.adaptation.freezing import freeze, unfreeze
from kzoo.adaptation.lora import LoRA, activate, adapters, add_adapter, merge, remove_adapter, unmerge
from kzoo.adaptation.report import TrainableReport, trainable_report

__all__ = [
    "LoRA",
    "TrainableReport",
    "activate",
    "adapters",
    "add_adapter",
    "freeze",
    "load_adapter",
    "merge",
    "remove_adapter",
    "save_adapter",
    "trainable_report",
    "unfreeze",
    "unmerge",
]
