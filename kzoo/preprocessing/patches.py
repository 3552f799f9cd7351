"""Any picture to patches that keep its shape, for towers that take pictures of every aspect ratio."""

import math

import numpy as np

from kzoo.arguments import COUNT, SIDE, one_of
from kzoo.preprocessing.decoding import AS_SHOWN, DECODINGS
from kzoo.preprocessing.images import INTERPOLATIONS, Pictures

PRECISION = 1e-5  # to which SigLIP 2's own processor finds the scale; a finer one would cut other grids


class PatchSteps(Pictures):
    """Decode, RGB, resize to whole patches, cut: the image half of a NaFlex preprocessor.

    The picture is scaled, both sides alike up to whole patches, until it has as many patches as fit.

    Args:
        patch_size: side of a patch in pixels.
        max_patches: patches per picture at most; the rest of the row is padding.
        interpolation: `"bilinear"` or `"bicubic"`.
        decoding: as in `ImageSteps`.

    Example:
        >>> patches, grid = PatchSteps(patch_size=16, max_patches=256)("wide.jpg")
        >>> patches.shape, grid
        ((256, 768), array([ 9, 27], dtype=int32))

    Reference:
        Tschannen et al., SigLIP 2, 2025, arXiv 2502.14786.
    """

    kind = "patches"
    image_size = None  # pictures keep their shape
    arguments = {
        "patch_size": SIDE,
        "max_patches": COUNT,
        "interpolation": one_of(*INTERPOLATIONS),
        "decoding": one_of(*DECODINGS),
    }

    def __init__(self, patch_size, max_patches, interpolation="bilinear", decoding=AS_SHOWN):
        self.decoding = decoding
        self.patch_size, self.max_patches, self.interpolation = patch_size, max_patches, interpolation

    def __call__(self, source) -> tuple:
        """One picture to patches.

        Args:
            source: as in `ImageSteps`.

        Returns:
            `(patches, grid)`: uint8 array `(max_patches, patch_size^2 * 3)`, row by row, each patch by row, column
            and channel, zeros behind the last; int32 array `(2,)`, rows and columns of patches.

        Raises:
            ValueError: the source cannot be read as a picture.
        """
        picture = self.decode(source)
        width, height = picture.size
        rows, columns = self.grid_of(height, width)
        patch = self.patch_size
        picture = picture.resize((columns * patch, rows * patch), INTERPOLATIONS[self.interpolation])
        cut = np.asarray(picture).reshape(rows, patch, columns, patch, 3).transpose(0, 2, 1, 3, 4)
        patches = np.zeros((self.max_patches, 3 * patch**2), "uint8")
        patches[: rows * columns] = cut.reshape(rows * columns, -1)
        return patches, np.array([rows, columns], "int32")

    def __repr__(self) -> str:
        sizes = f"at most {self.max_patches} patches of {self.patch_size} x {self.patch_size} pixels"
        return f"<PatchSteps to {sizes}, {self.interpolation}, {self.decoding}>"

    def grid_of(self, height, width) -> tuple:
        """Rows and columns of patches for a picture of this size: the most that fit at one scale."""
        low, high = PRECISION / 10, 100.0
        while high - low >= PRECISION:
            scale = (low + high) / 2
            fits = math.prod(self._patches(side, scale) for side in (height, width)) <= self.max_patches
            low, high = (scale, high) if fits else (low, scale)
        return self._patches(height, low), self._patches(width, low)

    def _patches(self, side, scale):
        return max(1, math.ceil(side * scale / self.patch_size))

    @staticmethod
    def batch(pictures) -> dict:
        """What a model takes: `images` `(n, max_patches, patch_size^2 * 3)` and `image_grid` `(n, 2)`."""
        patches, grids = zip(*pictures)
        return {"images": np.stack(patches), "image_grid": np.stack(grids)}

    def get_config(self) -> dict:
        return {
            "kind": self.kind,
            "patch_size": self.patch_size,
            "max_patches": self.max_patches,
            "interpolation": self.interpolation,
            "decoding": self.decoding,
        }
