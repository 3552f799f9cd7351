"""Parts of a picture and of its caption, as bags."""

import numpy as np

from kzoo.arguments import AMOUNT, FUNCTION, SIZE, Checked, number, span
from kzoo.preprocessing.augmentation import Augmentation
from kzoo.preprocessing.text_augmentation import CropWords
from kzoo.types import Array

LOCAL_SCALE = (0.05, 0.4)  # of multi-crop: what a local view shows of a picture, and a global one at least


class Crops(Checked):
    """Random parts of each pair: `crop_images` and `crop_token_ids`, bags of n.

    Args:
        images: crops of each picture.
        captions: crops of each caption, words that lie side by side.
        size: side of the crops in pixels, or `(height, width)`; default that of the model.
        augmentation: what makes a crop; default a twentieth to two fifths of the picture, left and right as they are.
        shares: smallest and largest share of the words of a caption.

    Example:
        >>> data = kzoo.data.pairs("photos.csv", model.preprocessor, crops=kzoo.data.Crops(images=4, captions=4))

    Reference:
        Fini et al., Improved baselines for vision-language pre-training, 2023, arXiv 2305.08675; shares of the picture:
        Caron et al., DINO, 2021, arXiv 2104.14294.
    """

    arguments = {
        "images": AMOUNT,
        "captions": AMOUNT,
        "size": SIZE,
        "augmentation": FUNCTION,
        "shares": span(number(above=0, most=1), "two shares with 0 < smallest <= largest <= 1"),
    }

    def __init__(self, images=0, captions=0, size=None, augmentation=None, shares=(0.3, 0.7)):
        self.images, self.captions, self.size = images, captions, size
        self.augmentation, self.words = augmentation or Augmentation(LOCAL_SCALE), CropWords(shares)

    def pictures(self, image, steps, random) -> Array:
        """uint8 array `(images, height, width, 3)`; `steps` are the `ImageSteps` of the model."""
        if self.size is not None:
            steps = steps.like(self.size)
        return np.stack([self.augmentation(image, steps, random) for _ in range(self.images)])

    def texts(self, caption, random) -> list:
        """list of `captions` strings."""
        return [self.words(caption, random) for _ in range(self.captions)]
