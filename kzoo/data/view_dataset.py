"""Augmented views of pictures as batches for `SelfSupervised`."""

import numpy as np

from kzoo.arguments import AMOUNT, COUNT, FLAG, FUNCTION, SIZE, able, takes
from kzoo.data.arguments import AUGMENTATIONS, BATCHING
from kzoo.data.batches import Batches
from kzoo.data.columns import opened
from kzoo.data.crops import LOCAL_SCALE
from kzoo.data.entries import RowEntries, named_masks
from kzoo.data.picture_sources import read_pictures
from kzoo.preprocessing.augmentation import Augmentation
from kzoo.preprocessing.patch_masks import PatchMask
from kzoo.preprocessing.preprocessor import Preprocessor


@takes(
    **{name: kind for name, kind in BATCHING.items() if name != "bag"},
    views=COUNT,
    local_views=AMOUNT,
    local_size=SIZE,
    augmentation=AUGMENTATIONS,
    local_bag=FLAG,
    boxes=FLAG,
    parameters=FLAG,
    styles=FUNCTION,
    mix=FUNCTION,
    skip_broken=FLAG,
    steps=(able("like") | able("encode_images")).said("ImageSteps, or a preprocessor"),
)
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
    local_bag=False,
    boxes=False,
    parameters=False,
    styles=None,
    mix=None,
    masks=None,
    ids=False,
    matrices=None,
    skip_broken=False,
    image_key="image",
    columns=(),
    classes=None,
) -> "ViewDataset":
    """A data set of augmented views of pictures.

    Args:
        source: pictures, as `ImageSteps` takes them, in an array `(n, height, width, 3)` or a list; path of a folder,
            whose pictures are taken with those of the folders in it, sorted by path; a dict with `images` and what
            else a loss reads of each, with a row for each picture, such as `labels`; or a `Dataset` of Hugging Face,
            one split and no stream, whose pictures are read when a batch needs them. Folders of classes,
            `pets/cat/1.jpg` and `pets/dog/2.jpg`, are `labels`; those of `train` and `test` are none.
        steps: `ImageSteps`, or a preprocessor that has them: the size of the views.
        batch_size: pictures per batch, at least 2.
        views: of each picture, `view_1`, `view_2`, ....
        local_views: further small crops of each, `local_1`, ....
        local_size: side of the local views in pixels, or `(height, width)`.
        augmentation: what makes a view, or one for each view, such as `Augmentation.moco_v3()`. Default
            `Augmentation.self_supervised()`, crops of a fifth of the picture or more; beside local views, of two fifths
            or more. A local view shows a twentieth to two fifths, and is augmented as the first view for the rest.
        shuffle: as in `pairs`. Views are random in any case.
        seed: of order and augmentation.
        sampler: `SameGroup`, `Episodes` or another, which says what rows make a batch, or None.
        workers: threads that prepare batches.
        local_bag: all local views as one bag `local_1` `(batch, local_views, height, width, 3)`.
        boxes: where each view lies in its picture, `view_1_box`, ... float32 `(batch, 4)`: x0, y0, x1, y1 in [0, 1],
            with x0 and x1 swapped in a mirrored view; what `PixPro` and `PixContrast` read.
        parameters: what made each view, `view_1_parameters`, ... float32 `(batch, 12)`, see
            `kzoo.preprocessing.augmentation.Drawn`; and, of two views or more, `relative_parameters`: those of the
            second less those of the first.
        styles: `FourierStyle`, which exchanges styles within the batch, for each view anew; None: none.
        mix: `Mixup`, `CutMix` or `PatchMix`: gives `mixed_view`, `lam` and `permutation`, of the first two views.
        masks: a mask of patches such as `RandomPatches` for each of the views, or a dict of views and masks; gives
            `view_1_masked`, or `view_1_kept` and `view_1_dropped`.
        ids: whether a batch says which picture of the set each row is: `ids` int32 `(batch,)`.
        matrices: dict of names and `Separations`, `Likeness`, `Edges` or `Lookup`: numbers of each pair of rows,
            float32 `(batch, batch)`.
        skip_broken: go on without pictures that cannot be read, and say which; otherwise they are an error.
        image_key: column of the pictures of a `Dataset`.
        columns: those of its columns that travel into the batch beside those of its `ClassLabel`; of a dict all do.
        classes: of labels in words, as in `pairs`; those of folders are called `labels`.

    Returns:
        `ViewDataset`, with batches of `view_1`, ..., `local_1`, ... uint8 `(batch, height, width, 3)`, the other
        entries of the source, and what is asked for.

    Raises:
        TypeError: a mask that is none.
        ValueError: no pictures, one that cannot be read, too few for a batch; entries with another number of rows, or
            that are neither numbers nor names; local views without a size; another number of augmentations than views.

    Example:
        >>> data = kzoo.data.views({"images": images, "labels": labels}, ImageSteps(32), batch_size=256)
        >>> sorted(data[0])
        ['labels', 'view_1', 'view_2']

        >>> train = kzoo.data.views("pets/train", ImageSteps(32), batch_size=256)
        >>> train.classes["labels"]
        ('cat', 'dog')
        >>> test = kzoo.data.views("pets/test", ImageSteps(32), batch_size=256, classes=train)

    Reference:
        Chen et al., SimCLR, 2020, arXiv 2002.05709; local views: Caron et al., SwAV, 2020, arXiv 2006.09882, with the
        shares of DINO, 2021, arXiv 2104.14294; boxes: Xie et al., PixPro, 2020, arXiv 2011.10043.
    """
    images, entries, named = read_pictures(source, image_key, columns, classes)
    options = {"batch_size": batch_size, "shuffle": shuffle, "seed": seed, "sampler": sampler, "workers": workers}
    options |= {"local_bag": local_bag, "boxes": boxes, "parameters": parameters, "styles": styles, "mix": mix}
    options |= {"masks": masks, "ids": ids, "matrices": matrices, "skip_broken": skip_broken}
    data = ViewDataset(images, entries, steps, views, local_views, local_size, augmentation, **options)
    data.classes = {name: tuple(ids) for name, ids in named.items()}
    return data


class ViewDataset(Batches):
    """Batches of `view_1`, `view_2`, ..., and what goes with them; made by `kzoo.data.views`.

    Attributes:
        broken: a sentence for each picture that could not be read so far.
        classes: names of the classes of each entry that held names, in the order of their ids.
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
        local_bag=False,
        boxes=False,
        parameters=False,
        styles=None,
        mix=None,
        masks=None,
        ids=False,
        matrices=None,
        skip_broken=False,
    ):
        if mix is not None and views < 2:
            raise ValueError(f"views is {views}, but mix makes one picture of two views; give two.")
        if bool(local_views) != (local_size is not None):
            raise ValueError(f"local_views is {local_views} and local_size {local_size}; give both, or neither.")
        self.images, self.entries = images, entries
        self.boxes, self.parameters, self.styles, self.mix, self.local_bag = boxes, parameters, styles, mix, local_bag
        steps = steps.images if isinstance(steps, Preprocessor) else steps
        each = _for_each(augmentation, views, local_views)
        self.whole = [f"view_{number + 1}" for number in range(views)]
        self.local = [f"local_{number + 1}" for number in range(local_views)]
        self.makers = {name: (augmentation, steps) for name, augmentation in zip(self.whole, each)}
        if local_views:
            local = each[0].with_scale(LOCAL_SCALE), steps.like(local_size)
            self.makers |= dict.fromkeys(self.local, local)
        if isinstance(masks, PatchMask):
            masks = dict.fromkeys(self.whole, masks)
        self.masks = named_masks(masks, dict.fromkeys(self.makers, PatchMask), "RandomPatches(grid)")
        super().__init__(len(images), "picture", batch_size, shuffle, seed, workers, sampler, skip_broken)
        self.of_rows = RowEntries(len(images), ids, matrices, entries)

    def batch(self, chosen, random) -> dict:
        rows = self.read_rows(chosen, random, self._views)
        chosen = np.array([number for number, _ in rows])
        drawn = {name: [views[name][1] for _, views in rows] for name in self.makers}
        found = {name: np.stack([views[name][0] for _, views in rows]) for name in self.makers}
        if self.styles is not None:
            found |= {name: self.styles(each, random) for name, each in found.items()}
        if self.local_bag and self.local:
            found["local_1"] = np.stack([found.pop(name) for name in self.local], axis=1)
        if self.mix is not None:
            found |= self.mix(found["view_1"], found["view_2"], random)
        for name, mask in self.masks.items():
            found |= mask.entries(name, len(chosen), random)
        found |= self._what_was_drawn(drawn)
        found |= {name: values[chosen] for name, values in self.entries.items()}
        return found | self.of_rows(chosen)

    def _views(self, number, random):
        """Number of a picture, and its views by name."""
        try:
            image = opened(self.images[number])
            return number, {name: self._view(image, *each, random) for name, each in self.makers.items()}
        except ValueError as error:
            raise ValueError(f"image {number}: {error}") from error

    def open(self, number, random=None) -> None:
        try:
            self.makers["view_1"][1].decode(opened(self.images[number]))
        except ValueError as error:
            raise ValueError(f"image {number}: {error}") from error

    def _view(self, image, augmentation, steps, random):
        """One view, and what was drawn for it, where that is asked for."""
        if self.boxes or self.parameters:
            return augmentation.draw(image, steps, random)
        return augmentation(image, steps, random), None

    def _what_was_drawn(self, drawn):
        """Boxes and parameters of the views of a batch."""
        found = {}
        if self.boxes:
            found |= {f"{name}_box": np.array([each.box for each in drawn[name]], "float32") for name in self.whole}
        if self.parameters:
            each = {name: np.stack([view.parameters for view in drawn[name]]) for name in self.whole}
            found |= {f"{name}_parameters": values for name, values in each.items()}
            if len(each) > 1:
                found["relative_parameters"] = each["view_2"] - each["view_1"]
        return found


def _for_each(augmentation, views, local_views):
    """An augmentation for each view."""
    if augmentation is None:
        augmentation = Augmentation.self_supervised((LOCAL_SCALE[1] if local_views else 0.2, 1.0))
    if not isinstance(augmentation, (tuple, list)):
        return [augmentation] * views
    if len(augmentation) != views:
        raise ValueError(f"there are {len(augmentation)} augmentations but {views} views; give one for each, or one.")
    return list(augmentation)
