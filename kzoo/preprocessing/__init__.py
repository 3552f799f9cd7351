"""Image steps, tokenizers, augmentations and masks: the same bytes in training and in deployment. No Keras here."""

from kzoo.preprocessing.aug_mix import AugMix
from kzoo.preprocessing.augmentation import Augmentation
from kzoo.preprocessing.bag_of_words import BagOfWords, rare_words
from kzoo.preprocessing.images import ImageSteps
from kzoo.preprocessing.mixing import CutMix, Mixup, PatchMix
from kzoo.preprocessing.patch_masks import BlockPatches, PatchMask, RandomPatches
from kzoo.preprocessing.patches import PatchSteps
from kzoo.preprocessing.preprocessor import Preprocessor
from kzoo.preprocessing.style import FourierStyle
from kzoo.preprocessing.text_augmentation import CropWords, DropWords, RepeatWords, ShuffleWords, TextSteps, Typos
from kzoo.preprocessing.token_masks import RandomTokens, TokenSpans
from kzoo.preprocessing.tokenizer import Tokenizer

__all__ = [
    "AugMix",
    "Augmentation",
    "BagOfWords",
    "BlockPatches",
    "CropWords",
    "CutMix",
    "DropWords",
    "FourierStyle",
    "ImageSteps",
    "Mixup",
    "PatchMask",
    "PatchMix",
    "PatchSteps",
    "Preprocessor",
    "RandomPatches",
    "RandomTokens",
    "RepeatWords",
    "ShuffleWords",
    "TextSteps",
    "TokenSpans",
    "Tokenizer",
    "Typos",
    "rare_words",
]
