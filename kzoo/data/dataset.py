"""Image-text pairs as batches for `fit`, `evaluate` and `predict`."""

import warnings

import numpy as np

from kzoo.data.batches import Batches
from kzoo.data.sources import read_source
from kzoo.preprocessing.augmentation import drop_words

LISTED = 5  # broken rows that a message spells out


def pairs(
    source,
    preprocessor,
    batch_size=64,
    shuffle=True,
    seed=0,
    augmentation=None,
    word_dropout=0.0,
    every_caption=False,
    skip_broken=False,
    workers=2,
    image_key="image",
    caption_key="caption",
    sampler=None,
):
    """A data set of image-text pairs.

    Args:
        source: path of a `.csv`, `.tsv` or `.jsonl` file, or of a folder of images with a `.txt` of captions
            (one a line) beside each; or a dict `{"images": ..., "captions": ...}`, such as
            `kzoo.data.icons()`. Relative paths start at the table's folder.
        preprocessor: `model.preprocessor`.
        batch_size: pairs per batch, at least 2.
        shuffle: a new order each epoch, set by `seed` and the epoch; the rest of the set that does not fill
            a batch is left out of that epoch. Without it the order is the source's and every pair is there.
        seed: of order, augmentation and choice of captions.
        augmentation: a `kzoo.preprocessing.Augmentation` for training, or None.
        word_dropout: share of the words of each caption that training leaves out, anew each epoch; helps where
            captions are short and few.
        every_caption: a pair for each caption of an image, as evaluation wants it. Otherwise an image with
            several captions is one pair, with a caption drawn anew each epoch (the first, without shuffle):
            two captions of one image in a batch would count as each other's negatives.
        skip_broken: go on without rows that are missing or unreadable, and say which. Otherwise they are an
            error.
        workers: threads that prepare batches.
        image_key, caption_key: column names of tables.
        sampler: `SameGroup` or `DistinctGroups`, which say what rows make a batch, by a number for each pair; None:
            any. With `shuffle` only.

    Returns:
        `PairDataset`.

    Raises:
        ValueError: broken rows, no rows, or too few for a batch.

    Example:
        >>> train = kzoo.data.pairs("photos.csv", model.preprocessor, batch_size=256)
        >>> model.fit(train, epochs=10)
    """
    found = read_source(source, image_key, caption_key)
    if found.broken and not skip_broken:
        raise ValueError(f"{_listed(found.broken)} Mend the source, or go on without them: skip_broken=True.")
    if found.broken:
        warnings.warn(_listed(found.broken), stacklevel=2)
    return PairDataset(
        found.rows,
        preprocessor,
        batch_size=batch_size,
        shuffle=shuffle,
        seed=seed,
        augmentation=augmentation,
        word_dropout=word_dropout,
        every_caption=every_caption,
        skip_broken=skip_broken,
        broken=found.broken,
        workers=workers,
        sampler=sampler,
    )


class PairDataset(Batches):
    """Batches of `images`, `token_ids` and `padding_mask`; made by `kzoo.data.pairs`.

    Attributes:
        broken: a sentence for each row that could not be used so far.
        truncated: captions of this epoch so far that were longer than the context and were cut.
        image_ids: int array, which image each pair shows; None unless `every_caption`.
        epoch: the epoch whose order is given out; `fit` sets it.
    """

    def __init__(
        self,
        rows,
        preprocessor,
        *,
        batch_size,
        shuffle,
        seed,
        augmentation,
        word_dropout,
        every_caption,
        skip_broken,
        broken,
        workers,
        sampler=None,
    ):
        self.rows, self.preprocessor = rows, preprocessor
        self.augmentation, self.word_dropout = augmentation, word_dropout
        self.skip_broken, self.broken = skip_broken, list(broken)
        self.truncated, self.reported = 0, False
        self.image_ids = None
        # a pair is (row, caption); caption None means one drawn for the epoch
        self.pairs = [(index, None) for index in range(len(rows))]
        if every_caption:
            self.pairs = [(index, number) for index, row in enumerate(rows) for number in range(len(row.captions))]
            self.image_ids = np.array([index for index, _ in self.pairs])
        super().__init__(len(self.pairs), "pair", batch_size, shuffle, seed, workers, sampler)

    @property
    def captions(self):
        """All captions of all images, for `preprocessor.adapt`."""
        return [caption for row in self.rows for caption in row.captions]

    def batch(self, chosen, random):
        images, texts = [], []
        for number in chosen:
            image, text = self._pair(int(number), random)
            images.append(image)
            texts.append(text)
        self.preprocessor.check_vocabulary()
        tokens, truncated = self.preprocessor.tokenizer.encode(texts)
        self.truncated += truncated
        return {**self.preprocessor.images.batch(images), **tokens}

    def _pair(self, number, random):
        """Pixels and caption of a pair, or of the next readable one where broken ones are skipped."""
        for _ in range(len(self.pairs)):
            row_index, caption = self.pairs[number]
            row = self.rows[row_index]
            if caption is None:
                caption = int(random.integers(len(row.captions))) if self.shuffle else 0
            try:
                return self._pixels(row.image, random), self._text(row.captions[caption], random)
            except ValueError as error:
                self._report(f"{row.place}: {error}", error)
            number = (number + 1) % len(self.pairs)
        raise ValueError("no image of the source can be read.")

    def _pixels(self, image, random):
        steps = self.preprocessor.images
        return steps(image) if self.augmentation is None else self.augmentation(image, steps, random)

    def _text(self, caption, random):
        return drop_words(caption, self.word_dropout, random) if self.word_dropout else caption

    def _report(self, problem, error):
        if not self.skip_broken:
            raise ValueError(f"{problem} Mend the source, or go on without it: skip_broken=True.") from error
        if problem not in self.broken:
            self.broken.append(problem)
            warnings.warn(f"{problem} The next readable image takes its place.", stacklevel=2)

    def on_epoch_end(self):
        if self.truncated and not self.reported:
            length = self.preprocessor.tokenizer.context_length
            read = min(len(self) * self.batch_size, len(self.pairs))
            warnings.warn(
                f"{self.truncated} of the {read} captions of an epoch are longer than the "
                f"context of {length} ids and were cut; the end-of-text id is kept.",
                stacklevel=2,
            )
            self.reported = True
        self.truncated = 0
        super().on_epoch_end()


def _listed(broken):
    shown = "; ".join(broken[:LISTED])
    more = f"; and {len(broken) - LISTED} more" if len(broken) > LISTED else ""
    return f"{len(broken)} rows of the source cannot be used: {shown}{more}."
