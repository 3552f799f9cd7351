"""Towers: pixels or token ids in, features out. One file each."""

import keras  # noqa: F401  before this room's modules, see kzoo.backend.register_with_keras

from kzoo.encoders.text_transformer import TextTransformer
from kzoo.encoders.vit import VisionTransformer

__all__ = ["TextTransformer", "VisionTransformer"]
