"""Retrieval and zero-shot classification on embeddings. In numpy: exported models use the same code."""

from kzoo.evaluation.retrieval import recall_at_k
from kzoo.evaluation.zero_shot import class_embeddings, fill_templates, softmax

__all__ = ["class_embeddings", "fill_templates", "recall_at_k", "softmax"]
