from kzoo.adaptation.freezing import freeze, unfreeze
from kzoo.adaptation.report import TrainableReport, trainable_report

__all__ = [
    "TrainableReport",
    "freeze",
    "trainable_report",
    "unfreeze",
]
