"""Random crops, flips and left-out words for training. Needs only numpy and Pillow."""

import math

import numpy as np

from kzoo.preprocessing.images import INTERPOLATIONS, decode, is_ready


class Augmentation:
    """Random resized crop, then a shift, then a flip: the training augmentation of the CLIP family.

    Args:
        scale: smallest and largest share of the picture's area that a crop keeps.
        ratio: smallest and largest width / height of a crop, relative to the target's.
        shift: largest displacement as a share of the side; the pixels at the edge fill what opens. Gentler than a
            crop where something at the border matters.
        flip: probability of a left-right flip. Leave it 0 where left and right mean something.

    Example:
        >>> pixels = Augmentation(scale=(0.8, 1.0))("cat.jpg", steps, np.random.default_rng(0))

    Reference:
        Szegedy et al., Going deeper with convolutions, 2014, arXiv 1409.4842.
    """

    def __init__(self, scale=(0.9, 1.0), ratio=(3 / 4, 4 / 3), shift=0.0, flip=0.0):
        if not 0.0 < scale[0] <= scale[1] <= 1.0:
            raise ValueError(f"scale is {scale}; give two shares with 0 < smallest <= largest <= 1.")
        if not 0.0 < ratio[0] <= ratio[1]:
            raise ValueError(f"ratio is {ratio}; give two positive numbers, the smaller first.")
        if not 0.0 <= shift < 1.0:
            raise ValueError(f"shift is {shift}; give a share of the side in [0, 1).")
        if not 0.0 <= flip <= 1.0:
            raise ValueError(f"flip is {flip}; give a probability.")
        self.scale, self.ratio, self.shift, self.flip = tuple(scale), tuple(ratio), shift, flip

    def __call__(self, source, steps, random):
        """One randomly changed picture.

        Args:
            source: see `ImageSteps`.
            steps: the `ImageSteps` that give size and interpolation.
            random: a `numpy.random.Generator`; the same state gives the same picture.

        Returns:
            uint8 array `(height, width, 3)`.

        Raises:
            ValueError: the steps keep the shape of every picture, so there is no size to crop to.
        """
        if steps.image_size is None:
            raise ValueError(
                "augmentation crops to one size, but this model takes pictures of any shape; leave it out."
            )
        pixels = self._cropped(source, steps, random)
        if self.shift:
            pixels = self._shifted(pixels, random)
        return pixels[:, ::-1] if random.random() < self.flip else pixels

    def _cropped(self, source, steps, random):
        whole = self.scale == (1.0, 1.0) and self.ratio == (1.0, 1.0)
        if whole and is_ready(source, steps.image_size):
            return source
        picture = decode(source)
        height, width = steps.image_size
        box = self._box(*picture.size, width / height, random)
        return np.asarray(picture.resize((width, height), INTERPOLATIONS[steps.interpolation], box=box))

    def _box(self, width, height, target_ratio, random):
        area = width * height * random.uniform(*self.scale)
        aspect = target_ratio * math.exp(random.uniform(*map(math.log, self.ratio)))
        crop_width = min(width, math.sqrt(area * aspect))
        crop_height = min(height, math.sqrt(area / aspect))
        left = random.uniform(0, width - crop_width)
        top = random.uniform(0, height - crop_height)
        return left, top, left + crop_width, top + crop_height

    def _shifted(self, pixels, random):
        for axis in (0, 1):
            side = pixels.shape[axis]
            reach = round(self.shift * side)
            places = np.arange(side) + random.integers(-reach, reach + 1)
            pixels = pixels.take(places.clip(0, side - 1), axis=axis)
        return pixels


def drop_words(text, rate, random):
    """The text without a random share of its words; at least one word stays.

    Args:
        text: string.
        rate: probability that a word is left out.
        random: a `numpy.random.Generator`.

    Example:
        >>> drop_words("book lock open outline", 0.5, np.random.default_rng(0))
        'book open'

    Reference:
        Wei and Zou, EDA, 2019, arXiv 1901.11196 (random deletion).
    """
    words = text.split()
    kept = [word for word in words if random.random() >= rate]
    return " ".join(kept or words)
