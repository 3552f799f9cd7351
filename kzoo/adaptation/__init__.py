"""Adapting what is trained: classifiers that need little or no training, prompts, low-rank updates, sums of weights."""

from kzoo.lazy import lazy

_CLASSIFIERS = "kzoo.adaptation.classifiers"
_NAMES = {
    "ConceptMatrixSearch": f"{_CLASSIFIERS}.concept_matrix_search",
    "EmbeddingClassifier": f"{_CLASSIFIERS}.classifier",
    "GaussianDiscriminant": f"{_CLASSIFIERS}.gaussian",
    "KNearestNeighbours": f"{_CLASSIFIERS}.neighbours",
    "LabelPropagation": f"{_CLASSIFIERS}.label_propagation",
    "LinearProbe": f"{_CLASSIFIERS}.linear_probe",
    "NearestClassMean": f"{_CLASSIFIERS}.class_mean",
    "SparseConceptBottleneck": f"{_CLASSIFIERS}.concept_bottleneck",
    "TipAdapter": f"{_CLASSIFIERS}.tip_adapter",
    "ZeroShot": f"{_CLASSIFIERS}.zero_shot",
    "describe_classes": f"{_CLASSIFIERS}.templates",
    "few_shot": f"{_CLASSIFIERS}.shots",
    "invert_images": "kzoo.adaptation.inversion",
    "invert_texts": "kzoo.adaptation.inversion",
    "template_weights": f"{_CLASSIFIERS}.templates",
}

__all__ = [*_NAMES]
__getattr__ = lazy(__name__, _NAMES)


def __dir__() -> list[str]:
    return sorted(__all__)
