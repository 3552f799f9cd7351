"""Retrieval, zero-shot classification and scores of captions. In numpy: exported models use the same code."""

from kzoo.evaluation.captions import caption_scores, words
from kzoo.evaluation.clip_score import clip_score, ref_clip_score
from kzoo.evaluation.rank_variance import mean_rank_variance
from kzoo.evaluation.retrieval import recall_at_k
from kzoo.evaluation.zero_shot import class_embeddings, fill_templates, softmax

__all__ = [
    "caption_scores",
    "class_embeddings",
    "clip_score",
    "fill_templates",
    "mean_rank_variance",
    "recall_at_k",
    "ref_clip_score",
    "softmax",
    "words",
]
