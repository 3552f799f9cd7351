"""Random crops, flips and colours for training. Needs only numpy and Pillow."""

import math
from dataclasses import dataclass, field
from typing import Self

import numpy as np
from PIL import Image, ImageEnhance, ImageFilter, ImageOps

from kzoo.arguments import POSITIVE, PROBABILITY, SHARE, Checked, number, sequence, span
from kzoo.preprocessing.images import INTERPOLATIONS, is_ready
from kzoo.types import Array

JITTERED = 0.8  # share of the pictures whose colours change
BLURS = (0.1 / 224, 2.0 / 224)  # standard deviation, in units of the side
DARKEST = 1e-3  # a factor of 0 has no logarithm
PARAMETERS = (  # of a view, in the order of `Drawn.parameters`
    "centre_x",
    "centre_y",
    "log_width",
    "log_height",
    "mirrored",
    "log_brightness",
    "log_contrast",
    "log_saturation",
    "hue",
    "grey",
    "blur",
    "solarized",
)


@dataclass
class Drawn:
    """What an augmentation has drawn for one picture.

    Attributes:
        box: x0, y0, x1, y1 of what the view shows, in the picture, whose sides are 1; x0 and x1 are swapped in a view
            that is mirrored. With a shift a box may reach past the picture.
        colours: names of `PARAMETERS` -> number, those that are not 0.
    """

    box: tuple = (0.0, 0.0, 1.0, 1.0)
    colours: dict = field(default_factory=dict)

    @property
    def parameters(self) -> Array:
        """float32 array `(12,)`, 0 where nothing is changed, so that the difference of two says what lies between them.

        | place | what |
        | --- | --- |
        | 0, 1 | centre of the crop, from the centre of the picture, in sides of the picture |
        | 2, 3 | logarithm of the crop's width and height, in sides of the picture |
        | 4 | 1 where mirrored |
        | 5, 6, 7 | logarithm of the factor on brightness, contrast and saturation |
        | 8 | turn of the hue, in units of the colour circle |
        | 9 | 1 where the colours are taken away |
        | 10 | standard deviation of the blur, in hundredths of the longer side |
        | 11 | 1 where solarised |
        """
        x0, y0, x1, y1 = self.box
        crop = ((x0 + x1 - 1) / 2, (y0 + y1 - 1) / 2, math.log(abs(x1 - x0)), math.log(y1 - y0), float(x1 < x0))
        return np.array([*crop, *(self.colours.get(name, 0.0) for name in PARAMETERS[5:])], "float32")


class Augmentation(Checked):
    """Random resized crop, then a shift, then a flip: the training augmentation of the CLIP family. With the colours
    changed after that it makes the views of self-supervised training, see `self_supervised`.

    Args:
        scale: smallest and largest share of the picture's area that a crop keeps.
        ratio: smallest and largest width / height of a crop, relative to the target's.
        shift: largest displacement as a share of the side; the pixels at the edge fill what opens. Gentler than a
            crop where something at the border matters.
        flip: probability of a left-right flip. Leave it 0 where left and right mean something.
        jitter: largest relative change of brightness, contrast and saturation, in random order, and four times the
            largest turn of the hue in units of the colour circle; or those four, one by one. In four pictures of five.
        grayscale: probability that the colours are taken away.
        blur: probability of a Gaussian blur, with a standard deviation of up to 2 pixels for a side of 224.
        solarize: probability that what is brighter than the middle is turned into its negative.

    Example:
        >>> pixels = Augmentation(scale=(0.8, 1.0))("cat.jpg", steps, np.random.default_rng(0))

    Reference:
        Szegedy et al., Going deeper with convolutions, 2014, arXiv 1409.4842; colours: Chen et al., SimCLR, 2020, arXiv
        2002.05709.
    """

    arguments = {
        "scale": span(number(above=0, most=1), "two shares with 0 < smallest <= largest <= 1"),
        "ratio": span(POSITIVE, "two positive numbers, the smaller first"),
        "shift": number(least=0, below=1).said("a share of the side in [0, 1)"),
        "flip": PROBABILITY,
        "grayscale": PROBABILITY,
        "blur": PROBABILITY,
        "solarize": PROBABILITY,
        "jitter": (SHARE | sequence(SHARE, "four", 4, 4)).said("a share in [0, 1], or four: brightness to hue"),
    }

    def __init__(
        self,
        scale=(0.9, 1.0),
        ratio=(3 / 4, 4 / 3),
        shift=0.0,
        flip=0.0,
        jitter=0.0,
        grayscale=0.0,
        blur=0.0,
        solarize=0.0,
    ):
        each = tuple(jitter) if isinstance(jitter, (tuple, list)) else (jitter, jitter, jitter, jitter / 4)
        self.scale, self.ratio, self.shift, self.flip = tuple(scale), tuple(ratio), shift, flip
        self.jitter, self.grayscale, self.blur, self.solarize = each, grayscale, blur, solarize

    @classmethod
    def self_supervised(cls, scale=(0.2, 1.0)) -> Self:
        """The augmentation of MoCo v2: crops, flips, colours, blur; for pictures whose left and right are alike.

        Args:
            scale: as above.

        Example:
            >>> view = Augmentation.self_supervised()("cat.jpg", steps, np.random.default_rng(0))

        Reference:
            Chen et al., MoCo v2, 2020, arXiv 2003.04297.
        """
        return cls(scale, flip=0.5, jitter=0.4, grayscale=0.2, blur=0.5)

    @classmethod
    def moco_v3(cls, scale=(0.08, 1.0)) -> tuple:
        """The two augmentations of MoCo v3 and BYOL: one view is always blurred, the other may be solarised.

        Args:
            scale: as above.

        Returns:
            Tuple of two `Augmentation`, for the first and the second view.

        Example:
            >>> data = kzoo.data.views(images, ImageSteps(224), augmentation=Augmentation.moco_v3())

        Reference:
            Chen et al., MoCo v3, 2021, arXiv 2104.02057; Grill et al., BYOL, 2020, arXiv 2006.07733.
        """
        colours = {"flip": 0.5, "jitter": (0.4, 0.4, 0.2, 0.1), "grayscale": 0.2}
        return cls(scale, blur=1.0, **colours), cls(scale, blur=0.1, solarize=0.2, **colours)

    def with_scale(self, scale) -> Self:
        """The same augmentation with crops of another scale."""
        colours = self.jitter, self.grayscale, self.blur, self.solarize
        return type(self)(scale, self.ratio, self.shift, self.flip, *colours)

    def __call__(self, source, steps, random) -> Array:
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
        return self.draw(source, steps, random)[0]

    def draw(self, source, steps, random) -> tuple:
        """One randomly changed picture, as a call gives it, with what was drawn.

        Returns:
            `(pixels, drawn)`: uint8 array `(height, width, 3)`, and `Drawn`.
        """
        if steps.image_size is None:
            raise ValueError(
                "augmentation crops to one size, but this model takes pictures of any shape; leave it out."
            )
        pixels, (x0, y0, x1, y1) = self._cropped(source, steps, random)
        if self.shift:
            pixels, down, right = self._shifted(pixels, random)
            y0, y1 = (y + down * (y1 - y0) for y in (y0, y1))
            x0, x1 = (x + right * (x1 - x0) for x in (x0, x1))
        if random.random() < self.flip:
            pixels, x0, x1 = pixels[:, ::-1], x1, x0
        drawn = Drawn((x0, y0, x1, y1))
        if any(self.jitter) or self.grayscale or self.blur or self.solarize:
            pixels = self._coloured(pixels, random, drawn.colours)
        return pixels, drawn

    def _cropped(self, source, steps, random):
        whole = self.scale == (1.0, 1.0) and self.ratio == (1.0, 1.0)
        if whole and is_ready(source, steps.image_size):
            return source, (0.0, 0.0, 1.0, 1.0)
        picture = steps.decode(source)
        height, width = steps.image_size
        box = self._box(*picture.size, width / height, random)
        pixels = np.asarray(picture.resize((width, height), INTERPOLATIONS[steps.interpolation], box=box))
        return pixels, tuple(place / side for place, side in zip(box, 2 * picture.size))

    def _box(self, width, height, target_ratio, random):
        area = width * height * random.uniform(*self.scale)
        aspect = target_ratio * math.exp(random.uniform(*map(math.log, self.ratio)))
        crop_width = min(width, math.sqrt(area * aspect))
        crop_height = min(height, math.sqrt(area / aspect))
        left = random.uniform(0, width - crop_width)
        top = random.uniform(0, height - crop_height)
        return left, top, left + crop_width, top + crop_height

    def _shifted(self, pixels, random):
        """The pixels moved, and by which share of the height and width what is seen has moved."""
        moved = []
        for axis in (0, 1):
            side = pixels.shape[axis]
            reach = round(self.shift * side)
            move = int(random.integers(-reach, reach + 1))
            pixels = pixels.take((np.arange(side) + move).clip(0, side - 1), axis=axis)
            moved.append(move / side)
        return pixels, *moved

    def _coloured(self, pixels, random, drawn):
        """The pixels with other colours; what is drawn goes into the dict `drawn`."""
        picture = Image.fromarray(np.ascontiguousarray(pixels))
        if any(self.jitter) and random.random() < JITTERED:
            for change in random.permutation(4):
                reach = self.jitter[change]
                if change == 3:
                    drawn["hue"] = random.uniform(-reach, reach)
                    picture = _turned(picture, drawn["hue"])
                else:
                    enhance = (ImageEnhance.Brightness, ImageEnhance.Contrast, ImageEnhance.Color)[change]
                    factor = random.uniform(1.0 - reach, 1.0 + reach)
                    drawn[PARAMETERS[5 + change]] = math.log(max(factor, DARKEST))
                    picture = enhance(picture).enhance(factor)
        if random.random() < self.grayscale:
            drawn["grey"] = 1.0
            picture = picture.convert("L").convert("RGB")
        if random.random() < self.blur:
            deviation = random.uniform(*BLURS)
            drawn["blur"] = 100 * deviation
            picture = picture.filter(ImageFilter.GaussianBlur(deviation * max(picture.size)))
        if self.solarize and random.random() < self.solarize:
            drawn["solarized"] = 1.0
            picture = ImageOps.solarize(picture)
        return np.asarray(picture)


def _turned(picture, turn):
    """The picture with its hue turned by a share of the colour circle."""
    hsv = np.array(picture.convert("HSV"))
    hsv[..., 0] += np.uint8(round(256 * turn) % 256)  # wraps around
    return Image.frombytes("HSV", picture.size, hsv.tobytes()).convert("RGB")
