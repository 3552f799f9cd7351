"""Towers: pixels or token ids in, features out. One file each."""

from kzoo.encoders.bert import BertEncoder
from kzoo.encoders.bert_decoder import BertDecoder
from kzoo.encoders.efficientnet import EfficientNet
from kzoo.encoders.keras_hub import from_keras_hub
from kzoo.encoders.multimodal_decoder import MultimodalDecoder
from kzoo.encoders.naflex_vit import NaFlexVisionTransformer
from kzoo.encoders.resnet import ResNet
from kzoo.encoders.text_decoder import TextDecoder
from kzoo.encoders.text_transformer import TextTransformer
from kzoo.encoders.vit import VisionTransformer

__all__ = [
    "BertDecoder",
    "BertEncoder",
    "EfficientNet",
    "MultimodalDecoder",
    "NaFlexVisionTransformer",
    "ResNet",
    "TextDecoder",
    "TextTransformer",
    "VisionTransformer",
    "from_keras_hub",
]
