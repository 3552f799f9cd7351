"""What multiplies: attention, transformer block, patch embedding, pooling, similarity head."""

from kzoo.layers.embedding_memory import EmbeddingMemory
from kzoo.layers.embedding_noise import GaussianEmbeddingNoise
from kzoo.layers.linear_logits import LinearLogits
from kzoo.layers.numerics import gelu, gelu_tanh, l2_normalize, quick_gelu
from kzoo.layers.patch_embedding import PatchEmbedding
from kzoo.layers.pooling import AttentionPooling, pool_end_of_text
from kzoo.layers.projector import Projector
from kzoo.layers.similarity import SimilarityHead
from kzoo.layers.transformer import Attention, LayerScale, TransformerBlock

__all__ = [
    "Attention",
    "AttentionPooling",
    "EmbeddingMemory",
    "GaussianEmbeddingNoise",
    "LayerScale",
    "LinearLogits",
    "PatchEmbedding",
    "Projector",
    "SimilarityHead",
    "TransformerBlock",
    "gelu",
    "gelu_tanh",
    "l2_normalize",
    "pool_end_of_text",
    "quick_gelu",
]
