from kzoo.adaptation.adaptation_report import Adaptation, AdaptationReport
from kzoo.adaptation.adapted_classifier import AdaptedClassifier
from kzoo.adaptation.adapted_model import AdaptedModel
from kzoo.adaptation.adapter_files import load_adapter, save_adapter
from kzoo.adaptation.bottleneck import BottleneckAdapter
from kzoo.adaptation.classifiers.class_mean import NearestClassMean
from kzoo.adaptation.classifiers.classifier import EmbeddingClassifier
from kzoo.adaptation.classifiers.concept_bottleneck import SparseConceptBottleneck
from kzoo.adaptation.classifiers.concept_matrix_search import ConceptMatrixSearch
from kzoo.adaptation.classifiers.cross_tune import CrossTune
from kzoo.adaptation.classifiers.gaussian import GaussianDiscriminant
from kzoo.adaptation.classifiers.label_propagation import LabelPropagation
from kzoo.adaptation.classifiers.linear_probe import LinearProbe
from kzoo.adaptation.classifiers.neighbours import KNearestNeighbours
from kzoo.adaptation.classifiers.shots import few_shot
from kzoo.adaptation.classifiers.templates import describe_classes, template_weights
from kzoo.adaptation.classifiers.tip_adapter import TipAdapter
from kzoo.adaptation.classifiers.transported import TransportedMeans
from kzoo.adaptation.classifiers.zero_shot import ZeroShot
from kzoo.adaptation.distillation.distilled import Distillation
from kzoo.adaptation.distillation.inheritance import inherit_weights
from kzoo.adaptation.distillation.learned_masks import learn_masks
from kzoo.adaptation.distillation.teacher_embeddings import TeacherEmbeddings
from kzoo.adaptation.distillation.trans_encoder import TransEncoder
from kzoo.adaptation.distillation.with_teacher import with_teacher
from kzoo.adaptation.fine_tuning import BitFit, FineTuning
from kzoo.adaptation.freezing import freeze, unfreeze
from kzoo.adaptation.inversion import invert_images, invert_texts
from kzoo.adaptation.lora import LoRA, activate, adapters, add_adapter, merge, remove_adapter, unmerge
from kzoo.adaptation.prefix_tuning import PrefixTuning
from kzoo.adaptation.prompts.cocoop import CoCoOp
from kzoo.adaptation.prompts.coop import CoOp
from kzoo.adaptation.prompts.denseclip import DenseCLIP
from kzoo.adaptation.prompts.fedpgp import FedPGP
from kzoo.adaptation.prompts.gopro import GOPro
from kzoo.adaptation.prompts.hicropl import HiCroPL
from kzoo.adaptation.prompts.maple import MaPLe
from kzoo.adaptation.prompts.multilane import MultiLane
from kzoo.adaptation.prompts.mvlpt import MVLPT
from kzoo.adaptation.prompts.task_oriented import TaskOrientedPrompt
from kzoo.adaptation.prompts.vpt import VPT
from kzoo.adaptation.report import TrainableReport, trainable_report
from kzoo.adaptation.weight_space.anisotropic import AnisotropicScaling
from kzoo.adaptation.weight_space.curve import interpolation_curve
from kzoo.adaptation.weight_space.merging import greedy_soup, interpolate, slerp, uniform_soup
from kzoo.adaptation.weight_space.task_vector import TaskVector

__all__ = [
    "MVLPT",
    "VPT",
    "Adaptation",
    "AdaptationReport",
    "AdaptedClassifier",
    "AdaptedModel",
    "AnisotropicScaling",
    "BitFit",
    "BottleneckAdapter",
    "CoCoOp",
    "CoOp",
    "ConceptMatrixSearch",
    "CrossTune",
    "DenseCLIP",
    "Distillation",
    "EmbeddingClassifier",
    "FedPGP",
    "FineTuning",
    "GOPro",
    "GaussianDiscriminant",
    "HiCroPL",
    "KNearestNeighbours",
    "LabelPropagation",
    "LinearProbe",
    "LoRA",
    "MaPLe",
    "MultiLane",
    "NearestClassMean",
    "PrefixTuning",
    "SparseConceptBottleneck",
    "TaskOrientedPrompt",
    "TaskVector",
    "TeacherEmbeddings",
    "TipAdapter",
    "TrainableReport",
    "TransEncoder",
    "TransportedMeans",
    "ZeroShot",
    "activate",
    "adapters",
    "add_adapter",
    "describe_classes",
    "few_shot",
    "freeze",
    "greedy_soup",
    "inherit_weights",
    "interpolate",
    "interpolation_curve",
    "invert_images",
    "invert_texts",
    "learn_masks",
    "load_adapter",
    "merge",
    "remove_adapter",
    "save_adapter",
    "slerp",
    "template_weights",
    "trainable_report",
    "unfreeze",
    "uniform_soup",
    "unmerge",
    "with_teacher",
]
