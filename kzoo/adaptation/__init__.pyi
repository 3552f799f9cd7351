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
from kzoo.adaptation.inversion import invert_images, invert_texts

__all__ = [
    "ConceptMatrixSearch",
    "EmbeddingClassifier",
    "GaussianDiscriminant",
    "KNearestNeighbours",
    "LabelPropagation",
    "LinearProbe",
    "NearestClassMean",
    "SparseConceptBottleneck",
    "TipAdapter",
    "ZeroShot",
    "describe_classes",
    "few_shot",
    "invert_images",
    "invert_texts",
    "template_weights",
]
