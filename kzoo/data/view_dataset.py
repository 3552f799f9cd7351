"""Augmented views of pictures as batches for `SelfSupervised`."""

import os
from pathlib import Path

import numpy as np

from kzoo.data.batches import Batches
from kzoo.data.sources import IMAGE_SUFFIXES
from kzoo.preprocessing.augmentation import Augmentation
from kzoo.preprocessing.images import ImageSteps

LOCAL_SCALE = (0.05, 0.4)  # of multi-crop: what a local view shows of a picture, and a global one at least


def views(
    source,
    steps,
    batch_size=64,
    views=2,
    local_views=0,
    local_size=None,
    augmentation=None,
    shuffle=True,
    seed=0,
    sampler=None,
    workers=2,
):
    """A data set of augmented views of pictures.

    Args:
        source: pictures, as `ImageSteps` takes them, in an array `(n, height, width, 3)` or a list; path of a folder,
            whose pictures are taken with those of the folders in it, sorted by path; or a dict with `images` and what
            else a loss reads of each, in arrays with a row for each picture, such as `labels`.
        steps: `ImageSteps`, or a preprocessor that has them: the size of the views.
        batch_size: pictures per batch, at least 2.
        views: of each picture, `view_1`, `view_2`, ....
        local_views: further small crops of each, `local_1`, ....
        local_size: side of the local views in pixels, or `(height, width)`.
        augmentation: what makes a view. Default `Augmentation.self_supervised()`, crops of a fifth of the picture or
            more; beside local views, of two fifths or more. A local view shows a twentieth to two fifths, and is
            augmented alike for the rest.
        shuffle: as in `pairs`. Views are random in any case.
        seed: of order and augmentation.
        sampler: `SameGroup` or `DistinctGroups`, or None.
        workers: threads that prepare batches.

    Returns:
        `ViewDataset`, with batches of `view_1`, ..., `local_1`, ... uint8 `(batch, height, width, 3)`, and the other
        entries of the source.

    Raises:
        ValueError: no pictures, one that cannot be read, too few for a batch; entries with another number of rows, or
            that are no numbers; local views without a size.

    Example:
        >>> data = kzoo.data.views({"images": images, "labels": labels}, ImageSteps(32), batch_size=256)
        >>> sorted(data[0])
        ['labels', 'view_1', 'view_2']

    Reference:
        Chen et al., SimCLR, 2020, arXiv 2002.05709; local views: Caron et al., SwAV, 2020, arXiv 2006.09882, with the
        shares of DINO, 2021, arXiv 2104.14294.
    """
    images, entries = _read(source)
    options = {"batch_size": batch_size, "shuffle": shuffle, "seed": seed, "sampler": sampler, "workers": workers}
    return ViewDataset(images, entries, steps, views, local_views, local_size, augmentation, **options)


class ViewDataset(Batches):
    """Batches of `view_1`, `view_2`, ..., and the other entries of the source; made by `kzoo.data.views`.

    Attributes:
        epoch: the epoch whose order is given out; `fit` sets it.
    """

    def __init__(
        self,
        images,
        entries,
        steps,
        views,
        local_views,
        local_size,
        augmentation,
        *,
        batch_size,
        shuffle,
        seed,
        sampler,
        workers,
    ):
        if views < 1:
            raise ValueError(f"views is {views}; give at least one, and two for a loss that compares views.")
        if bool(local_views) != (local_size is not None):
            raise ValueError(f"local_views is {local_views} and local_size {local_size}; give both, or neither.")
        self.images, self.entries = images, entries
        steps = getattr(steps, "images", steps)
        augmentation = augmentation or Augmentation.self_supervised((LOCAL_SCALE[1] if local_views else 0.2, 1.0))
        self.makers = {f"view_{number + 1}": (augmentation, steps) for number in range(views)}
        if local_views:
            local = augmentation.with_scale(LOCAL_SCALE), ImageSteps(local_size, interpolation=steps.interpolation)
            self.makers |= {f"local_{number + 1}": local for number in range(local_views)}
        super().__init__(len(images), "picture", batch_size, shuffle, seed, workers, sampler)

    def batch(self, chosen, random):
        found = {name: [] for name in self.makers}
        for index in chosen:
            for name, (augmentation, steps) in self.makers.items():
                try:
                    found[name].append(augmentation(self.images[index], steps, random))
                except ValueError as error:
                    raise ValueError(f"image {index}: {error}") from error
        arrays = {name: np.stack(each) for name, each in found.items()}
        return arrays | {name: values[chosen] for name, values in self.entries.items()}


def _read(source):
    """The pictures of a source, and its other entries as arrays."""
    if isinstance(source, (str, os.PathLike)):
        folder = Path(source)
        if not folder.is_dir():
            raise ValueError(f"{folder} is no folder; give one with pictures, a list or array of pictures, or a dict.")
        return sorted(path for path in folder.rglob("*") if path.suffix.lower() in IMAGE_SUFFIXES), {}
    if not isinstance(source, dict):
        return source, {}
    if "images" not in source:
        raise ValueError(f"the source is a dict of {', '.join(source)} without images; give the pictures as 'images'.")
    images, entries = source["images"], {}
    for name, values in source.items():
        if name == "images":
            continue
        entries[name] = np.asarray(values)
        if entries[name].dtype.kind not in "biuf":
            raise ValueError(f"{name!r} holds no numbers; leave it out of the source, a batch takes only numbers.")
        if len(entries[name]) != len(images):
            raise ValueError(f"there are {len(images)} images but {len(entries[name])} {name}; give one for each.")
    return images, entries
