"""Pictures of a batch mixed with each other, with the shares of the mixture. Needs only numpy."""

import math

import numpy as np

from kzoo.arguments import GRID, POSITIVE, Checked


class Mixup(Checked):
    """Mixes each picture with one of the other view as if both were transparent.

    Args:
        beta: the share of the first view is drawn from Beta(beta, beta), once for a batch.

    Example:
        >>> data = kzoo.data.views(images, ImageSteps(32), mix=Mixup())
        >>> sorted(data[0])
        ['lam', 'mixed_view', 'permutation', 'view_1', 'view_2']

    Reference:
        Zhang et al., mixup, 2017, arXiv 1710.09412; of two views: Bandara et al., Mixed Barlow Twins, 2023, arXiv
        2312.02151.
    """

    arguments = {"beta": POSITIVE}

    def __init__(self, beta=1.0):
        self.beta = beta

    def __call__(self, first, second, random) -> dict:
        """Mixed pictures, with what loss functions read of them.

        Args:
            first, second: uint8 arrays `(batch, height, width, 3)`, two views.
            random: a `numpy.random.Generator`.

        Returns:
            dict: `mixed_view` like `first`; `lam` float32 `(batch,)`, the share of the first view; `permutation` int32
            `(batch,)`, the row of the second view that each is mixed with.
        """
        permutation = random.permutation(len(first)).astype("int32")
        mixed, lam = self.mixed(first, second[permutation], random.beta(self.beta, self.beta), random)
        return {"mixed_view": mixed, "lam": np.full(len(first), lam, "float32"), "permutation": permutation}

    def mixed(self, first, second, lam, random) -> tuple:
        """Pictures with about a share `lam` of the first, and the exact share."""
        return np.rint(lam * first + (1.0 - lam) * second).astype("uint8"), lam


class CutMix(Mixup):
    """Puts a rectangle of one picture into another, at the same place; `lam` is the share of the area that stays.

    Args:
        beta: the share is drawn from Beta(beta, beta), and the place of the rectangle uniformly, once for a batch.

    Example:
        >>> data = kzoo.data.views(images, ImageSteps(32), mix=CutMix())

    Reference:
        Yun et al., CutMix, 2019, arXiv 1905.04899.
    """

    def mixed(self, first, second, lam, random) -> tuple:
        height, width = first.shape[1:3]
        side = math.sqrt(1.0 - lam)
        centre = random.uniform(0, height), random.uniform(0, width)
        # cut off at the edge, as the authors do: corners and centre of the picture are as likely
        (top, bottom), (left, right) = (
            (max(0, round(middle - side * length / 2)), min(length, round(middle + side * length / 2)))
            for middle, length in zip(centre, (height, width))
        )
        mixed = first.copy()
        mixed[:, top:bottom, left:right] = second[:, top:bottom, left:right]
        return mixed, 1.0 - (bottom - top) * (right - left) / (height * width)


class PatchMix(Mixup):
    """Puts patches of one picture into another, at the same places, chosen at random; `lam` is the share that stays.

    Args:
        grid: rows and columns of patches, such as the `grid` of the tower; they divide the size of the views.
        beta: the share is drawn from Beta(beta, beta), and the places, once for a batch.

    Raises:
        ValueError: pictures that cannot be cut into such a grid.

    Example:
        >>> data = kzoo.data.views(images, ImageSteps(32), mix=PatchMix((4, 4)))

    Reference:
        Shen et al., Inter-Instance Similarity Modeling for Contrastive Learning (PatchMix), 2023, arXiv 2306.12243,
        where more than two pictures are mixed; Cai et al., MixReorg, ICCV 2023.
    """

    arguments = {"grid": GRID}

    def __init__(self, grid, beta=1.0):
        super().__init__(beta)
        self.grid = tuple(grid)

    def mixed(self, first, second, lam, random) -> tuple:
        height, width = first.shape[1:3]
        rows, columns = self.grid
        if height % rows or width % columns:
            raise ValueError(f"views of {height} x {width} pixels cannot be cut into {rows} x {columns} patches.")
        count = rows * columns
        staying = round(lam * count)
        stays = (random.permutation(count) < staying).reshape(rows, columns)
        stays = stays.repeat(height // rows, axis=0).repeat(width // columns, axis=1)[:, :, None]
        return np.where(stays, first, second), staying / count
