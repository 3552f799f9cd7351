"""Captions from a decoder: greedy, sampling, beam and contrastive search. In numpy: exported models use it too."""

from kzoo.decoding.decoder import Decoder
from kzoo.decoding.options import STRATEGIES
from kzoo.decoding.search import generate

__all__ = ["STRATEGIES", "Decoder", "generate"]
