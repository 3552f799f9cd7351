"""Image steps and tokenizers: the same bytes in training and in deployment. No Keras here."""

from kzoo.preprocessing.augmentation import Augmentation
from kzoo.preprocessing.images import ImageSteps
from kzoo.preprocessing.patches import PatchSteps
from kzoo.preprocessing.preprocessor import Preprocessor
from kzoo.preprocessing.tokenizer import Tokenizer

__all__ = ["Augmentation", "ImageSteps", "PatchSteps", "Preprocessor", "Tokenizer"]
