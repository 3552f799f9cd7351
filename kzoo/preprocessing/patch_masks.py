"""Which patches of a picture are hidden in training: at random, or in blocks. Needs only numpy."""

import math

import numpy as np

from kzoo.arguments import COUNT, FLAG, GRID, INNER, POSITIVE, PROBABILITY, Checked, span
from kzoo.types import Array

TRIES = 10  # of one block to fit, as the authors of BEiT allow


class PatchMask(Checked):
    """Base of what hides patches: a subclass says which, `__call__(count, random)`, a bool array `(count, positions)`.

    Args:
        grid: rows and columns of patches, such as the `grid` of the tower.
    """

    arguments = {"grid": GRID}

    def __init__(self, grid):
        self.grid = tuple(grid)

    def entries(self, name, count, random) -> dict:
        """What a batch calls the masks of `count` pictures `name`, such as `"view_1"`.

        Returns:
            dict: `{name}_masked` bool `(count, positions)`, True where a patch is hidden.
        """
        return {f"{name}_masked": self(count, random)}


class RandomPatches(PatchMask):
    """Hides or drops a share of the patches, each as likely as any other; the number is the same in every picture.

    Args:
        grid: rows and columns of patches, such as the `grid` of the tower.
        share: of the patches that are not seen, above 0 and below 1; `int(positions * (1 - share))` stay, as in MAE.
        drop: patches that are not seen are left out of the tower, which saves their computation. Otherwise a learned
            vector stands in their place.

    Raises:
        ValueError: a share that hides nothing or all, or a grid that is none.

    Example:
        >>> RandomPatches((2, 2), share=0.5)(1, np.random.default_rng(0))
        array([[ True,  True, False, False]])

    Reference:
        He et al., Masked Autoencoders Are Scalable Vision Learners (MAE), 2021, arXiv 2111.06377.
    """

    arguments = {"share": INNER, "drop": FLAG}

    def __init__(self, grid, share=0.75, drop=False):
        super().__init__(grid)
        self.share, self.drop = share, drop
        self.positions = math.prod(self.grid)
        self.kept = int(self.positions * (1.0 - share))
        if not 0 < self.kept < self.positions:
            raise ValueError(
                f"a share of {share} leaves {self.kept} of {self.positions} patches; choose one that hides some and "
                "leaves some."
            )

    def __call__(self, count, random) -> Array:
        """bool array `(count, positions)`, True where a patch is not seen; `random` is a `numpy.random.Generator`."""
        order = np.argsort(random.random((count, self.positions)), axis=1)
        hidden = np.ones((count, self.positions), "bool")
        np.put_along_axis(hidden, order[:, : self.kept], False, axis=1)
        return hidden

    def entries(self, name, count, random) -> dict:
        """What a batch calls the masks of `count` pictures `name`, such as `"view_1"`.

        Returns:
            dict: `{name}_masked` bool `(count, positions)`; or, with `drop`, `{name}_kept` int32 `(count, kept)`, the
            positions that are seen, ascending, and `{name}_dropped` bool `(count, positions)` for the loss.
        """
        if not self.drop:
            return super().entries(name, count, random)
        hidden = self(count, random)
        kept = np.nonzero(~hidden)[1].reshape(count, self.kept).astype("int32")
        return {f"{name}_kept": kept, f"{name}_dropped": hidden}


class BlockPatches(PatchMask):
    """Hides rectangles of patches, one after another, until a share of the picture is hidden.

    The last block may not fit any more, so that a few patches less are hidden than the share says, never more.

    Args:
        grid: rows and columns of patches, such as the `grid` of the tower.
        share: of the patches that are hidden, a number, or `(least, most)`, of which one is drawn for each picture.
        smallest: patches of a block at least, before the aspect ratio rounds them; default a square of a third of the
            shorter side, as in iBOT.
        aspect: smallest and largest height / width of a block.
        probability: that anything of a picture is hidden; iBOT leaves every second one whole.

    Raises:
        ValueError: bad shares, aspects or probability, or a grid that is none.

    Example:
        >>> BlockPatches((14, 14), share=(0.1, 0.5), probability=0.5)(8, np.random.default_rng(0)).shape
        (8, 196)

    Reference:
        Bao et al., BEiT, 2021, arXiv 2106.08254; Zhou et al., iBOT, 2021, arXiv 2111.07832.
    """

    arguments = {
        "share": (INNER | span(INNER, "two")).said("one share above 0 and below 1, or the least and the most"),
        "smallest": COUNT,
        "aspect": span(POSITIVE, "two positive numbers, the smaller first"),
        "probability": PROBABILITY,
    }

    def __init__(self, grid, share=0.4, smallest=None, aspect=(0.3, 1 / 0.3), probability=1.0):
        super().__init__(grid)
        self.aspect, self.probability = aspect, probability
        self.shares = tuple(share) if np.ndim(share) else (share, share)
        self.smallest = max(1, (min(self.grid) // 3) ** 2) if smallest is None else smallest

    def __call__(self, count, random) -> Array:
        """bool array `(count, positions)`, True where a patch is hidden; `random` is a `numpy.random.Generator`."""
        return np.stack([self._picture(random) for _ in range(count)])

    def _picture(self, random):
        hidden = np.zeros(self.grid, "bool")
        wanted = int(random.uniform(*self.shares) * hidden.size)
        if random.random() >= self.probability:
            return hidden.reshape(-1)
        while (left := wanted - int(hidden.sum())) > 0 and self._add_block(hidden, left, random):
            continue
        return hidden.reshape(-1)

    def _add_block(self, hidden, left, random):
        """Hide one block more of at most `left` new patches; False where none fits."""
        rows, columns = self.grid
        for _ in range(TRIES):
            area = random.uniform(min(self.smallest, left), left)
            ratio = math.exp(random.uniform(*map(math.log, self.aspect)))
            height, width = max(1, round(math.sqrt(area * ratio))), max(1, round(math.sqrt(area / ratio)))
            if height > rows or width > columns:
                continue
            top, start = random.integers(rows - height + 1), random.integers(columns - width + 1)
            block = hidden[top : top + height, start : start + width]
            if 0 < height * width - int(block.sum()) <= left:
                block[:] = True
                return True
        return False
