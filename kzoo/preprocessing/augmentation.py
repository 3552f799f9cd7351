"""Random crops, flips, colours and left-out words for training. Needs only numpy and Pillow."""

import math

import numpy as np
from PIL import Image, ImageEnhance, ImageFilter

from kzoo.preprocessing.images import INTERPOLATIONS, decode, is_ready

JITTERED = 0.8  # share of the pictures whose colours change
BLURS = (0.1 / 224, 2.0 / 224)  # standard deviation, in units of the side


class Augmentation:
    """Random resized crop, then a shift, then a flip: the training augmentation of the CLIP family. With the colours
    changed after that it makes the views of self-supervised training, see `self_supervised`.

    Args:
        scale: smallest and largest share of the picture's area that a crop keeps.
        ratio: smallest and largest width / height of a crop, relative to the target's.
        shift: largest displacement as a share of the side; the pixels at the edge fill what opens. Gentler than a
            crop where something at the border matters.
        flip: probability of a left-right flip. Leave it 0 where left and right mean something.
        jitter: largest relative change of brightness, contrast and saturation, in random order, and four times the
            largest turn of the hue in units of the colour circle; in four pictures of five.
        grayscale: probability that the colours are taken away.
        blur: probability of a Gaussian blur, with a standard deviation of up to 2 pixels for a side of 224.

    Example:
        >>> pixels = Augmentation(scale=(0.8, 1.0))("cat.jpg", steps, np.random.default_rng(0))

    Reference:
        Szegedy et al., Going deeper with convolutions, 2014, arXiv 1409.4842; colours: Chen et al., SimCLR, 2020, arXiv
        2002.05709.
    """

    def __init__(
        self,
        scale=(0.9, 1.0),
        ratio=(3 / 4, 4 / 3),
        shift=0.0,
        flip=0.0,
        jitter=0.0,
        grayscale=0.0,
        blur=0.0,
    ):
        if not 0.0 < scale[0] <= scale[1] <= 1.0:
            raise ValueError(f"scale is {scale}; give two shares with 0 < smallest <= largest <= 1.")
        if not 0.0 < ratio[0] <= ratio[1]:
            raise ValueError(f"ratio is {ratio}; give two positive numbers, the smaller first.")
        if not 0.0 <= shift < 1.0:
            raise ValueError(f"shift is {shift}; give a share of the side in [0, 1).")
        for name, value in (("flip", flip), ("grayscale", grayscale), ("blur", blur)):
            if not 0.0 <= value <= 1.0:
                raise ValueError(f"{name} is {value}; give a probability.")
        if not 0.0 <= jitter <= 1.0:
            raise ValueError(f"jitter is {jitter}; give a share in [0, 1].")
        self.scale, self.ratio, self.shift, self.flip = tuple(scale), tuple(ratio), shift, flip
        self.jitter, self.grayscale, self.blur = jitter, grayscale, blur

    @classmethod
    def self_supervised(cls, scale=(0.2, 1.0)):
        """The augmentation of MoCo v2: crops, flips, colours, blur; for pictures whose left and right are alike.

        Args:
            scale: as above.

        Example:
            >>> view = Augmentation.self_supervised()("cat.jpg", steps, np.random.default_rng(0))

        Reference:
            Chen et al., MoCo v2, 2020, arXiv 2003.04297.
        """
        return cls(scale, flip=0.5, jitter=0.4, grayscale=0.2, blur=0.5)

    def with_scale(self, scale):
        """The same augmentation with crops of another scale."""
        colours = self.jitter, self.grayscale, self.blur
        return type(self)(scale, self.ratio, self.shift, self.flip, *colours)

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
        pixels = pixels[:, ::-1] if random.random() < self.flip else pixels
        return self._coloured(pixels, random) if self.jitter or self.grayscale or self.blur else pixels

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

    def _coloured(self, pixels, random):
        picture = Image.fromarray(np.ascontiguousarray(pixels))
        if self.jitter and random.random() < JITTERED:
            low, high = 1.0 - self.jitter, 1.0 + self.jitter
            for change in random.permutation(4):
                if change == 3:
                    picture = _turned(picture, random.uniform(-self.jitter / 4, self.jitter / 4))
                else:
                    enhance = (ImageEnhance.Brightness, ImageEnhance.Contrast, ImageEnhance.Color)[change]
                    picture = enhance(picture).enhance(random.uniform(low, high))
        if random.random() < self.grayscale:
            picture = picture.convert("L").convert("RGB")
        if random.random() < self.blur:
            picture = picture.filter(ImageFilter.GaussianBlur(random.uniform(*BLURS) * max(picture.size)))
        return np.asarray(picture)


def _turned(picture, turn):
    """The picture with its hue turned by a share of the colour circle."""
    hsv = np.array(picture.convert("HSV"))
    hsv[..., 0] += np.uint8(round(256 * turn) % 256)  # wraps around
    return Image.frombytes("HSV", picture.size, hsv.tobytes()).convert("RGB")


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
