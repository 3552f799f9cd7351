"""AugMix: a picture mixed with chains of strange changes of itself. Needs only numpy and Pillow."""

from typing import Self

import numpy as np
from PIL import Image, ImageOps

from kzoo.arguments import COUNT, POSITIVE, Checked, able, number
from kzoo.preprocessing.augmentation import Augmentation
from kzoo.types import Array

LARGEST = 10.0  # severity at which each change is as strong as it can be
TURN, SHEAR, MOVE = 30.0, 0.3, 1 / 3  # of that strength: degrees, slope, share of the side


class AugMix(Checked):
    """Mixes a view with `width` chains of up to three changes of it, in random shares, for nets that stand new noise.

    The changes are autocontrast, equalise, posterise, solarise, turn, shear and move along both axes: none of those of
    common corruption benchmarks. Its colours and places change only in the mixture, so boxes are those of the view
    before.

    Args:
        severity: strength of the changes, above 0, up to 10.
        width: chains.
        depth: changes in a chain; None: one to three, drawn for each.
        alpha: of the Dirichlet and Beta distributions of the shares.
        before: the `Augmentation` that makes the view; default crops of a fifth or more and flips.

    Raises:
        ValueError: a severity, width, depth or alpha that is none.

    Example:
        >>> plain = Augmentation(scale=(0.2, 1.0), flip=0.5)
        >>> data = kzoo.data.views(images, ImageSteps(32), views=3, augmentation=(plain, AugMix(), AugMix()))

    Reference:
        Hendrycks et al., AugMix, 2019, arXiv 1912.02781.
    """

    arguments = {
        "severity": number(above=0, most=LARGEST),
        "width": COUNT,
        "depth": COUNT,
        "alpha": POSITIVE,
        "before": able("draw with_scale", "an Augmentation, or None"),
    }

    def __init__(self, severity=3.0, width=3, depth=None, alpha=1.0, before=None):
        self.severity, self.width, self.depth, self.alpha = severity, width, depth, alpha
        self.before = before or Augmentation(scale=(0.2, 1.0), flip=0.5)

    def with_scale(self, scale) -> Self:
        """The same with crops of another scale."""
        return type(self)(self.severity, self.width, self.depth, self.alpha, self.before.with_scale(scale))

    def __call__(self, source, steps, random) -> Array:
        """One randomly changed picture, see `Augmentation`: uint8 array `(height, width, 3)`."""
        return self.draw(source, steps, random)[0]

    def draw(self, source, steps, random) -> tuple:
        """The picture, and what its `before` has drawn."""
        pixels, drawn = self.before.draw(source, steps, random)
        shares = random.dirichlet([self.alpha] * self.width)
        own = random.beta(self.alpha, self.alpha)
        mixture = own * pixels
        for share in shares:
            mixture = mixture + (1.0 - own) * share * self._chain(Image.fromarray(np.ascontiguousarray(pixels)), random)
        return np.rint(mixture).clip(0, 255).astype("uint8"), drawn

    def _chain(self, picture, random):
        for _ in range(self.depth or int(random.integers(1, 4))):
            change = CHANGES[random.integers(len(CHANGES))]
            strength = random.uniform(0.1, self.severity) / LARGEST
            picture = change(picture, strength, 1 if random.random() < 0.5 else -1)
        return np.asarray(picture, "float64")


def _affine(picture, *matrix):
    return picture.transform(picture.size, Image.Transform.AFFINE, matrix, Image.Resampling.BILINEAR)


CHANGES = (  # of a picture, a strength in (0, 1] and a sign
    lambda picture, strength, sign: ImageOps.autocontrast(picture),
    lambda picture, strength, sign: ImageOps.equalize(picture),
    lambda picture, strength, sign: ImageOps.posterize(picture, max(1, 4 - int(4 * strength))),
    lambda picture, strength, sign: ImageOps.solarize(picture, 256 - int(256 * strength)),
    lambda picture, strength, sign: picture.rotate(sign * int(TURN * strength), Image.Resampling.BILINEAR),
    lambda picture, strength, sign: _affine(picture, 1, sign * SHEAR * strength, 0, 0, 1, 0),
    lambda picture, strength, sign: _affine(picture, 1, 0, 0, sign * SHEAR * strength, 1, 0),
    lambda picture, strength, sign: _affine(picture, 1, 0, sign * int(MOVE * strength * picture.width), 0, 1, 0),
    lambda picture, strength, sign: _affine(picture, 1, 0, 0, 0, 1, sign * int(MOVE * strength * picture.height)),
)
