"""Adapting what is trained: names of weights, freezing, low-rank updates, prompts, classifiers, sums of weights."""

from kzoo.lazy import lazy

_CLASSIFIERS = "kzoo.adaptation.classifiers"
_DISTILLATION = "kzoo.adaptation.distillation"
_PROMPTS = "kzoo.adaptation.prompts"
_WEIGHTS = "kzoo.adaptation.weight_space"
_NAMES = {
    "Adaptation": "kzoo.adaptation.adaptation_report",
    "AdaptationReport": "kzoo.adaptation.adaptation_report",
    "AdaptedClassifier": "kzoo.adaptation.adapted_classifier",
    "AdaptedModel": "kzoo.adaptation.adapted_model",
    "AnisotropicScaling": f"{_WEIGHTS}.anisotropic",
    "BitFit": "kzoo.adaptation.fine_tuning",
    "BottleneckAdapter": "kzoo.adaptation.bottleneck",
    "CoCoOp": f"{_PROMPTS}.cocoop",
    "CoOp": f"{_PROMPTS}.coop",
    "ConceptMatrixSearch": f"{_CLASSIFIERS}.concept_matrix_search",
    "CrossTune": f"{_CLASSIFIERS}.cross_tune",
    "DenseCLIP": f"{_PROMPTS}.denseclip",
    "Distillation": f"{_DISTILLATION}.distilled",
    "EmbeddingClassifier": f"{_CLASSIFIERS}.classifier",
    "FedPGP": f"{_PROMPTS}.fedpgp",
    "FineTuning": "kzoo.adaptation.fine_tuning",
    "GOPro": f"{_PROMPTS}.gopro",
    "GaussianDiscriminant": f"{_CLASSIFIERS}.gaussian",
    "HiCroPL": f"{_PROMPTS}.hicropl",
    "KNearestNeighbours": f"{_CLASSIFIERS}.neighbours",
    "LabelPropagation": f"{_CLASSIFIERS}.label_propagation",
    "LinearProbe": f"{_CLASSIFIERS}.linear_probe",
    "LoRA": "kzoo.adaptation.lora",
    "MVLPT": f"{_PROMPTS}.mvlpt",
    "MaPLe": f"{_PROMPTS}.maple",
    "MultiLane": f"{_PROMPTS}.multilane",
    "NearestClassMean": f"{_CLASSIFIERS}.class_mean",
    "PrefixTuning": "kzoo.adaptation.prefix_tuning",
    "SparseConceptBottleneck": f"{_CLASSIFIERS}.concept_bottleneck",
    "TaskOrientedPrompt": f"{_PROMPTS}.task_oriented",
    "TaskVector": f"{_WEIGHTS}.task_vector",
    "TeacherEmbeddings": f"{_DISTILLATION}.teacher_embeddings",
    "TipAdapter": f"{_CLASSIFIERS}.tip_adapter",
    "TrainableReport": "kzoo.adaptation.report",
    "TransEncoder": f"{_DISTILLATION}.trans_encoder",
    "TransportedMeans": f"{_CLASSIFIERS}.transported",
    "VPT": f"{_PROMPTS}.vpt",
    "ZeroShot": f"{_CLASSIFIERS}.zero_shot",
    "activate": "kzoo.adaptation.lora",
    "adapters": "kzoo.adaptation.lora",
    "add_adapter": "kzoo.adaptation.lora",
    "describe_classes": f"{_CLASSIFIERS}.templates",
    "few_shot": f"{_CLASSIFIERS}.shots",
    "freeze": "kzoo.adaptation.freezing",
    "greedy_soup": f"{_WEIGHTS}.merging",
    "inherit_weights": f"{_DISTILLATION}.inheritance",
    "interpolate": f"{_WEIGHTS}.merging",
    "interpolation_curve": f"{_WEIGHTS}.curve",
    "invert_images": "kzoo.adaptation.inversion",
    "invert_texts": "kzoo.adaptation.inversion",
    "learn_masks": f"{_DISTILLATION}.learned_masks",
    "load_adapter": "kzoo.adaptation.adapter_files",
    "merge": "kzoo.adaptation.lora",
    "remove_adapter": "kzoo.adaptation.lora",
    "save_adapter": "kzoo.adaptation.adapter_files",
    "slerp": f"{_WEIGHTS}.merging",
    "template_weights": f"{_CLASSIFIERS}.templates",
    "trainable_report": "kzoo.adaptation.report",
    "unfreeze": "kzoo.adaptation.freezing",
    "uniform_soup": f"{_WEIGHTS}.merging",
    "unmerge": "kzoo.adaptation.lora",
    "with_teacher": f"{_DISTILLATION}.with_teacher",
}

__all__ = [*_NAMES]
__getattr__ = lazy(__name__, _NAMES)


def __dir__() -> list[str]:
    return sorted(__all__)
