"""What stands between the towers of a model and its loss.

Written by `make docs` from the files: every layer that is registered with Keras is public here and in `kzoo.layers`.
"""

from kzoo.layers.heads.adversarial import AdversarialStates
from kzoo.layers.heads.binary_code import BinaryCode
from kzoo.layers.heads.classifier import Classifier
from kzoo.layers.heads.cross_modal import CrossModalAttention
from kzoo.layers.heads.group_adapters import GroupAdapters
from kzoo.layers.heads.hallucinator import FeatureAugmenter, Hallucinator
from kzoo.layers.heads.head import Head
from kzoo.layers.heads.multi_head import MultiHeadProjector, TemperatureFactors
from kzoo.layers.heads.orthogonal_basis import OrthogonalBasis
from kzoo.layers.heads.patch_decoder import PatchDecoder, Patchify
from kzoo.layers.heads.predictor import CodeDecoder, Predictor
from kzoo.layers.heads.sentence_decoder import SentenceDecoder
from kzoo.layers.heads.split_projector import HypernetworkPredictor, SplitProjector
from kzoo.layers.heads.token_projector import TokenProjector

__all__ = [
    "AdversarialStates",
    "BinaryCode",
    "Classifier",
    "CodeDecoder",
    "CrossModalAttention",
    "FeatureAugmenter",
    "GroupAdapters",
    "Hallucinator",
    "Head",
    "HypernetworkPredictor",
    "MultiHeadProjector",
    "OrthogonalBasis",
    "PatchDecoder",
    "Patchify",
    "Predictor",
    "SentenceDecoder",
    "SplitProjector",
    "TemperatureFactors",
    "TokenProjector",
]
