"""Losses: one per file, called with tensors, composed with `+` and `*`.

Written by `make docs` from the files of the rooms: every loss that is registered with Keras is public here.
"""

from typing import TYPE_CHECKING

from kzoo.losses.base import Loss, WeightedSum, weighted_mean
from kzoo.losses.composition.matryoshka import Matryoshka
from kzoo.losses.composition.matryoshka_2d import Matryoshka2D
from kzoo.losses.generative.captioning import Captioning
from kzoo.losses.generative.captioning_contrastive import CaptioningContrastive
from kzoo.losses.generative.contrastive_mim import ContrastiveMIM
from kzoo.losses.generative.masked_image_modelling import MaskedImageModelling
from kzoo.losses.generative.simctg import SimCTG
from kzoo.losses.image_text.adaptive_multi_head import AdaptiveMultiHead
from kzoo.losses.image_text.alignment_uniformity import AlignmentUniformity
from kzoo.losses.image_text.continuously_weighted_contrastive import ContinuouslyWeightedContrastive
from kzoo.losses.image_text.counting_contrastive import CountingContrastive
from kzoo.losses.image_text.decoupled_softmax import DecoupledSoftmax
from kzoo.losses.image_text.face_name_alignment import FaceNameAlignment
from kzoo.losses.image_text.fine_grained_contrastive import FineGrainedContrastive
from kzoo.losses.image_text.geodesic_mixup import GeodesicMixup
from kzoo.losses.image_text.gram_contrastive import GramContrastive
from kzoo.losses.image_text.group_info_nce import GroupInfoNCE
from kzoo.losses.image_text.hard_negative_contrastive import HardNegativeContrastive
from kzoo.losses.image_text.image_grounded_contrast import ImageGroundedContrast
from kzoo.losses.image_text.image_text_matching import ImageTextMatching
from kzoo.losses.image_text.individual_temperature import IndividualTemperature
from kzoo.losses.image_text.info_nce import InfoNCE
from kzoo.losses.image_text.mixup_contrastive import MixupContrastive
from kzoo.losses.image_text.multi_caption_contrastive import MultiCaptionContrastive
from kzoo.losses.image_text.multi_crop_contrastive import MultiCropContrastive
from kzoo.losses.image_text.multi_label_cluster_discrimination import MultiLabelClusterDiscrimination
from kzoo.losses.image_text.one_to_k import OneToK
from kzoo.losses.image_text.prototype_contrastive import PrototypeContrastive
from kzoo.losses.image_text.self_soft_target_contrastive import SelfSoftTargetContrastive
from kzoo.losses.image_text.self_supervised_contrastive import SelfSupervisedContrastive
from kzoo.losses.image_text.sigmoid_contrastive import SigmoidContrastive
from kzoo.losses.image_text.soft_contrastive import SoftContrastive
from kzoo.losses.image_text.soft_top_k import SoftTopK
from kzoo.losses.image_text.subcaption_grouping import SubcaptionGrouping
from kzoo.losses.image_text.symile import Symile
from kzoo.losses.image_text.token_classification import TokenClassification
from kzoo.losses.image_text.unified_contrastive import UnifiedContrastive
from kzoo.losses.labels.circle_loss import CircleLoss
from kzoo.losses.labels.cross_entropy import CrossEntropy
from kzoo.losses.labels.equiangular_basis_vectors import EquiangularBasisVectors
from kzoo.losses.labels.focal_supcon import FocalSupCon
from kzoo.losses.labels.gumbel_contrastive import GumbelContrastive
from kzoo.losses.labels.haversine_geocell import HaversineGeocell
from kzoo.losses.labels.icnn import ICNN
from kzoo.losses.labels.leave_one_out_knn import LeaveOneOutKNN
from kzoo.losses.labels.meta_node_contrastive import MetaNodeContrastive
from kzoo.losses.labels.metric_mix import MetricMix
from kzoo.losses.labels.proto_triplet import ProtoTriplet
from kzoo.losses.labels.simplex_classifier import SimplexClassifier
from kzoo.losses.labels.supcon import SupCon
from kzoo.losses.labels.supremix import SupReMix
from kzoo.losses.labels.triplet import Triplet
from kzoo.losses.parts.hard_pairs import mix_hard_pairs
from kzoo.losses.parts.temperature import LearnableTemperature
from kzoo.losses.sentences.adversarial_pairs import AdversarialPairs
from kzoo.losses.sentences.bag_of_words_decoding import BagOfWordsDecoding
from kzoo.losses.sentences.cosent import CoSENT
from kzoo.losses.sentences.esimcse import ESimCSE
from kzoo.losses.sentences.multiple_negatives_ranking import MultipleNegativesRanking
from kzoo.losses.sentences.pair_distillation import PairDistillation
from kzoo.losses.sentences.pearson_loss import PearsonLoss
from kzoo.losses.sentences.preference_rank import PreferenceRank
from kzoo.losses.sentences.rank_kl import RankKL
from kzoo.losses.sentences.simcse import SimCSE
from kzoo.losses.sentences.whitened_cse import WhitenedCSE
from kzoo.losses.spec import from_spec, unknown
from kzoo.losses.teachers.backward_compatible_basis import BackwardCompatibleBasis
from kzoo.losses.teachers.clustered_memory_contrastive import ClusteredMemoryContrastive
from kzoo.losses.teachers.decoupled_global_local import DecoupledGlobalLocal
from kzoo.losses.teachers.dino import DINO
from kzoo.losses.teachers.embedding_distillation import EmbeddingDistillation
from kzoo.losses.teachers.feature_transform_contrastive import FeatureTransformContrastive
from kzoo.losses.teachers.higher_order_compatibility import HigherOrderCompatibility
from kzoo.losses.teachers.ibot import IBOT
from kzoo.losses.teachers.logit_distillation import LogitDistillation
from kzoo.losses.teachers.mochi import MoCHi
from kzoo.losses.teachers.momentum_distillation import MomentumDistillation
from kzoo.losses.teachers.online_bag_of_words import OnlineBagOfWords
from kzoo.losses.teachers.queue_contrastive import QueueContrastive
from kzoo.losses.teachers.rehearsal_supcon import RehearsalSupCon
from kzoo.losses.teachers.simdino import SimDINO
from kzoo.losses.teachers.text_grounded_contrast import TextGroundedContrast
from kzoo.losses.views.arbitrary_pairs import ArbitraryPairs
from kzoo.losses.views.attraction_repulsion import AttractionRepulsion
from kzoo.losses.views.barlow_twins import BarlowTwins
from kzoo.losses.views.decoupled_contrastive import DecoupledContrastive
from kzoo.losses.views.group_ordering import GroupOrdering
from kzoo.losses.views.mixed_barlow_twins import MixedBarlowTwins
from kzoo.losses.views.multi_view_dhel import MultiViewDHEL
from kzoo.losses.views.multi_view_info_nce import MultiViewInfoNCE
from kzoo.losses.views.nt_xent import NTXent
from kzoo.losses.views.pixcontrast import PixContrast
from kzoo.losses.views.pixpro import PixPro
from kzoo.losses.views.separate_common_salient import SeparateCommonSalient
from kzoo.losses.views.split_invariant_equivariant import SplitInvariantEquivariant
from kzoo.losses.views.swav import SwAV
from kzoo.losses.views.vicreg import VICReg
from kzoo.losses.views.weighted_info_nce import WeightedInfoNCE

__all__ = [
    "DINO",
    "IBOT",
    "ICNN",
    "AdaptiveMultiHead",
    "AdversarialPairs",
    "AlignmentUniformity",
    "ArbitraryPairs",
    "AttractionRepulsion",
    "BackwardCompatibleBasis",
    "BagOfWordsDecoding",
    "BarlowTwins",
    "Captioning",
    "CaptioningContrastive",
    "CircleLoss",
    "ClusteredMemoryContrastive",
    "CoSENT",
    "ContinuouslyWeightedContrastive",
    "ContrastiveMIM",
    "CountingContrastive",
    "CrossEntropy",
    "DecoupledContrastive",
    "DecoupledGlobalLocal",
    "DecoupledSoftmax",
    "ESimCSE",
    "EmbeddingDistillation",
    "EquiangularBasisVectors",
    "FaceNameAlignment",
    "FeatureTransformContrastive",
    "FineGrainedContrastive",
    "FocalSupCon",
    "GeodesicMixup",
    "GramContrastive",
    "GroupInfoNCE",
    "GroupOrdering",
    "GumbelContrastive",
    "HardNegativeContrastive",
    "HaversineGeocell",
    "HigherOrderCompatibility",
    "ImageGroundedContrast",
    "ImageTextMatching",
    "IndividualTemperature",
    "InfoNCE",
    "LearnableTemperature",
    "LeaveOneOutKNN",
    "LogitDistillation",
    "Loss",
    "MaskedImageModelling",
    "Matryoshka",
    "Matryoshka2D",
    "MetaNodeContrastive",
    "MetricMix",
    "MixedBarlowTwins",
    "MixupContrastive",
    "MoCHi",
    "MomentumDistillation",
    "MultiCaptionContrastive",
    "MultiCropContrastive",
    "MultiLabelClusterDiscrimination",
    "MultiViewDHEL",
    "MultiViewInfoNCE",
    "MultipleNegativesRanking",
    "NTXent",
    "OneToK",
    "OnlineBagOfWords",
    "PairDistillation",
    "PearsonLoss",
    "PixContrast",
    "PixPro",
    "PreferenceRank",
    "ProtoTriplet",
    "PrototypeContrastive",
    "QueueContrastive",
    "RankKL",
    "RehearsalSupCon",
    "SelfSoftTargetContrastive",
    "SelfSupervisedContrastive",
    "SeparateCommonSalient",
    "SigmoidContrastive",
    "SimCSE",
    "SimCTG",
    "SimDINO",
    "SimplexClassifier",
    "SoftContrastive",
    "SoftTopK",
    "SplitInvariantEquivariant",
    "SubcaptionGrouping",
    "SupCon",
    "SupReMix",
    "SwAV",
    "Symile",
    "TextGroundedContrast",
    "TokenClassification",
    "Triplet",
    "UnifiedContrastive",
    "VICReg",
    "WeightedInfoNCE",
    "WeightedSum",
    "WhitenedCSE",
    "from_spec",
    "mix_hard_pairs",
    "weighted_mean",
]


def __dir__() -> list[str]:
    return sorted(__all__)


if not TYPE_CHECKING:  # a type checker takes a `__getattr__` for any name at all

    def __getattr__(name):
        raise unknown(name, __all__)
