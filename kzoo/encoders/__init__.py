"""Towers: arrays of one modality in, named features out. One file each.

Written by `make docs` from the files: every tower and decoder with a `kind` that is registered with Keras is public
here, and a preset row can name it.
"""

from kzoo.encoders.as_tower import as_tower
from kzoo.encoders.bert import BertEncoder
from kzoo.encoders.bert_decoder import BertDecoder
from kzoo.encoders.convnext import ConvNeXt
from kzoo.encoders.convolved_text import ConvolvedTextTransformer
from kzoo.encoders.efficientnet import EfficientNet
from kzoo.encoders.fastvit import FastViT
from kzoo.encoders.from_checkpoint import class_head_from_checkpoint, from_checkpoint
from kzoo.encoders.keras_hub import from_keras_hub
from kzoo.encoders.layer_tower import LayerTower
from kzoo.encoders.m2m100 import M2M100Encoder
from kzoo.encoders.modern_text import ModernTextTransformer
from kzoo.encoders.multimodal_decoder import MultimodalDecoder
from kzoo.encoders.naflex_vit import NaFlexVisionTransformer
from kzoo.encoders.prompted import PromptedTower
from kzoo.encoders.resnet import ResNet
from kzoo.encoders.swin import SwinTransformer
from kzoo.encoders.t5 import T5Encoder
from kzoo.encoders.text_decoder import TextDecoder
from kzoo.encoders.text_transformer import TextTransformer
from kzoo.encoders.tower import Input, Tower, table_of
from kzoo.encoders.tower_decoder import TowerDecoder
from kzoo.encoders.vit import VisionTransformer

KINDS = (
    BertDecoder,
    BertEncoder,
    ConvNeXt,
    ConvolvedTextTransformer,
    EfficientNet,
    FastViT,
    LayerTower,
    M2M100Encoder,
    ModernTextTransformer,
    MultimodalDecoder,
    NaFlexVisionTransformer,
    PromptedTower,
    ResNet,
    SwinTransformer,
    T5Encoder,
    TextDecoder,
    TextTransformer,
    TowerDecoder,
    VisionTransformer,
)  # what a preset row can name

__all__ = [
    "KINDS",
    "BertDecoder",
    "BertEncoder",
    "ConvNeXt",
    "ConvolvedTextTransformer",
    "EfficientNet",
    "FastViT",
    "Input",
    "LayerTower",
    "M2M100Encoder",
    "ModernTextTransformer",
    "MultimodalDecoder",
    "NaFlexVisionTransformer",
    "PromptedTower",
    "ResNet",
    "SwinTransformer",
    "T5Encoder",
    "TextDecoder",
    "TextTransformer",
    "Tower",
    "TowerDecoder",
    "VisionTransformer",
    "as_tower",
    "class_head_from_checkpoint",
    "from_checkpoint",
    "from_keras_hub",
    "table_of",
]
