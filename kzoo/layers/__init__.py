"""What multiplies: attention, transformer blocks, patches, pooling, similarity, heads of models.

Written by `make docs`.
"""

from kzoo.layers.attention import Attention
from kzoo.layers.embedding_memory import EmbeddingMemory
from kzoo.layers.embedding_noise import GaussianEmbeddingNoise
from kzoo.layers.heads import (
    AdversarialStates,
    BinaryCode,
    Classifier,
    CodeDecoder,
    CrossModalAttention,
    FeatureAugmenter,
    GroupAdapters,
    Hallucinator,
    Head,
    HypernetworkPredictor,
    MultiHeadProjector,
    OrthogonalBasis,
    PatchDecoder,
    Patchify,
    Predictor,
    SentenceDecoder,
    SplitProjector,
    TemperatureFactors,
    TokenProjector,
)
from kzoo.layers.linear_logits import LinearLogits
from kzoo.layers.numerics import gelu, gelu_tanh, l2_normalize, quick_gelu
from kzoo.layers.patch_embedding import PatchEmbedding
from kzoo.layers.pooling import AttentionPooling, pool_end_of_text
from kzoo.layers.projection import Projection
from kzoo.layers.projector import Projector
from kzoo.layers.similarity import SimilarityHead
from kzoo.layers.transformer import LayerScale, TransformerBlock

__all__ = [
    "AdversarialStates",
    "Attention",
    "AttentionPooling",
    "BinaryCode",
    "Classifier",
    "CodeDecoder",
    "CrossModalAttention",
    "EmbeddingMemory",
    "FeatureAugmenter",
    "GaussianEmbeddingNoise",
    "GroupAdapters",
    "Hallucinator",
    "Head",
    "HypernetworkPredictor",
    "LayerScale",
    "LinearLogits",
    "MultiHeadProjector",
    "OrthogonalBasis",
    "PatchDecoder",
    "PatchEmbedding",
    "Patchify",
    "Predictor",
    "Projection",
    "Projector",
    "SentenceDecoder",
    "SimilarityHead",
    "SplitProjector",
    "TemperatureFactors",
    "TokenProjector",
    "TransformerBlock",
    "gelu",
    "gelu_tanh",
    "l2_normalize",
    "pool_end_of_text",
    "quick_gelu",
]
