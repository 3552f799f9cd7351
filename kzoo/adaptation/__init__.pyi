from kzoo.adaptation.classifiers.class_mean import NearestClassMean
from kzoo.adaptation.classifiers.classifier import EmbeddingClassifier
from kzoo.adaptation.classifiers.concept_bottleneck import SparseConceptBottleneck
from kzoo.adaptation.classifiers.concept_matrix_search import ConceptMatrixSearch
from kzoo.adaptation.classifiers.gaussian import GaussianDiscriminant
from kzoo.adaptation.classifiers.label_propagation import LabelPropagation
from kzoo.adaptation.classifiers.linear_probe import LinearProbe
from kzoo.adaptation.classifiers.neighbours import KNearestNeighbours
from kzoo.adaptation.classifiers.shots import few_shot
from kzoo.adaptation.classifiers.templates import describe_classes, template_weights
from kzoo.adaptation.classifiers.tip_adapter import TipAdapter
from kzoo.adaptation.classifiers.zero_shot import ZeroShot
from kzoo.adaptation.freezing import freeze, unfreeze
from kzoo.adaptation.inversion import invert_images, invert_texts
from kzoo.adaptation.lora import LoRA, activate, adapters, add_adapter, merge, remove_adapter, unmerge
from kzoo.adaptation.report import TrainableReport, trainable_report

__all__ = [
    "ConceptMatrixSearch",
    "EmbeddingClassifier",
    "GaussianDiscriminant",
    "KNearestNeighbours",
    "LabelPropagation",
    "LinearProbe",
    "LoRA",
    "NearestClassMean",
    "SparseConceptBottleneck",
    "TipAdapter",
    "TrainableReport",
    "ZeroShot",
    "activate",
    "adapters",
    "add_adapter",
    "describe_classes",
    "few_shot",
    "freeze",
    "invert_images",
    "invert_texts",
    "merge",
    "remove_adapter",
    "template_weights",
    "trainable_report",
    "unfreeze",
    "unmerge",
]
