"""Batches of image-text pairs, with what goes with them."""

from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from kzoo.data.batches import Batches
from kzoo.data.columns import IMAGES, NUMBERS, in_one_array, kind_of, opened
from kzoo.data.crops import Crops
from kzoo.data.cut_texts import CutTexts
from kzoo.data.entries import RowEntries, named_masks
from kzoo.preprocessing.bags import is_bag
from kzoo.preprocessing.images import is_ready
from kzoo.preprocessing.patch_masks import PatchMask
from kzoo.preprocessing.text_augmentation import drop_words
from kzoo.preprocessing.token_masks import RandomTokens

KINDS = {"image": PatchMask, "text": RandomTokens}  # what hides a part of each


@dataclass
class Pair:
    """What a row of a batch is made of.

    Attributes:
        number: of the pair in the set.
        row: of the source.
        chosen: numbers of the captions of its row that are shown.
        pixels: its picture, prepared.
        texts: its caption, or a list of them.
        pictures: its further pictures, decoded, by the name of their column.
    """

    number: int
    row: object
    chosen: list
    pixels: object
    texts: object
    pictures: dict

    def more(self, name) -> Any:
        """What goes with it under the name of a column."""
        return self.pictures[name] if name in self.pictures else self.row.more[name][self.chosen[0]]


class PairDataset(Batches):
    """Batches of pairs; made by `kzoo.data.pairs`, which says what they hold.

    Attributes:
        broken: a sentence for each row that could not be used so far.
        truncated: texts of this epoch so far that were longer than the context and were cut.
        image_ids: int array, which image each pair shows; None unless `every_caption`.
        classes: names of the classes of each column that held names, in the order of their ids.
        epoch: the epoch whose order is given out; `fit` sets it.
        beside: function of a list of `Pair` to a dict of further arrays of a batch, such as what a teacher says of
            them; None for none.
    """

    beside = None

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
        captions_per_image=None,
        crops=None,
        masks=None,
        bag=None,
        ids=False,
        matrices=None,
    ):
        self.rows, self.preprocessor = rows, preprocessor
        self.augmentation, self.word_dropout = augmentation, word_dropout
        self.cut = CutTexts(preprocessor)
        self.captions_per_image, self.crops, self.bag = captions_per_image, crops or Crops(), bag
        if captions_per_image is not None and every_caption:
            raise ValueError(
                f"captions_per_image is {captions_per_image} and every_caption {every_caption}; leave one of them out."
            )
        if isinstance(masks, tuple(KINDS.values())):
            masks = {name: masks for name, kind in KINDS.items() if isinstance(masks, kind)}
        self.masks = named_masks(masks, KINDS, "RandomPatches(grid) or RandomTokens(tokenizer)")
        if captions_per_image is not None and ("text" in self.masks or bag is not None):
            raise ValueError("masks of the text and a bag of words are of one caption; leave out captions_per_image.")
        self.image_ids = None
        self._of_pairs = None  # numbers of rows and captions, where each caption is a pair
        if every_caption:
            counts = np.asarray(self.count_captions(), "int64")
            self.image_ids = np.repeat(np.arange(len(counts)), counts)
            first = np.cumsum(counts) - counts  # pair of each row that shows its first caption
            self._of_pairs = self.image_ids, np.arange(len(self.image_ids)) - np.repeat(first, counts)
        self.columns, self.bags = self.read_columns()
        if self.crops.images and "crop_images" in self.columns:
            raise ValueError("the source has 'crop_images' of its own; leave them out there, or leave out crops.")
        count = len(rows) if self.image_ids is None else len(self.image_ids)
        super().__init__(count, "pair", batch_size, shuffle, seed, workers, sampler, skip_broken, broken)
        self.pictures = tuple(name for name in self.columns if kind_of(name) == IMAGES)
        self.of_rows = RowEntries(count, ids, matrices, self.columns)

    def count_captions(self) -> list:
        """How many captions each row has."""
        return [len(row.captions) for row in self.rows]

    def read_columns(self) -> tuple:
        """Names of what goes with a pair, and members of the bags among it by name, None for what is no bag."""
        columns = tuple(self.rows[0].more) if self.rows else ()
        # as many in each bag of the set as in its longest: a shape that changes would be compiled anew
        return columns, {name: _longest(value for row in self.rows for value in row.more[name]) for name in columns}

    def pair(self, number) -> tuple:
        """`(row, caption)` of a pair by their numbers; None is a caption that is drawn for the epoch."""
        return (number, None) if self._of_pairs is None else tuple(int(each[number]) for each in self._of_pairs)

    @property
    def captions(self) -> list:
        """All captions of all images, for `preprocessor.adapt`."""
        return [caption for row in self.rows for caption in row.captions]

    def batch(self, chosen, random) -> dict:
        pairs = self.read_rows(chosen, random, self._pair)
        batch = self.preprocessor.images.batch([pair.pixels for pair in pairs])
        batch |= self._tokens([pair.texts for pair in pairs], bag=self.captions_per_image)
        for name in self.columns:
            batch |= self._column(name, [pair.more(name) for pair in pairs])
        if self.crops.images:
            batch["crop_images"] = np.stack(
                [self.crops.pictures(opened(pair.row.image), self.preprocessor.images, random) for pair in pairs]
            )
        if self.crops.captions:
            texts = [pair.texts if isinstance(pair.texts, str) else pair.texts[0] for pair in pairs]
            found = self._tokens([self.crops.texts(text, random) for text in texts], "crop")
            batch |= {name: found[name] for name in ("crop_token_ids", "crop_padding_mask")}
        if self.bag is not None:
            batch["bag"] = self.bag(batch["token_ids"], batch["padding_mask"])
        batch |= self._hidden(batch, random)
        batch |= self.of_rows([pair.number for pair in pairs])
        return batch if self.beside is None else batch | self.beside(pairs)

    def in_order(self) -> Self:
        found = super().in_order()
        found.augmentation, found.word_dropout = None, 0.0
        if self._of_pairs is not None:
            found.image_ids = self._of_pairs[0][found.rows_read]
        return found

    def _tokens(self, texts, prefix="", bag=None):
        return self.preprocessor.encode_texts(texts, prefix, bag, self.cut)

    def _column(self, name, values):
        """Arrays of what goes with the pairs of a batch."""
        kind, prefix = kind_of(name), name.rpartition("_")[0]
        if kind == NUMBERS:
            return {name: in_one_array(name, values)}
        encode = self.preprocessor.encode_images if kind == IMAGES else self._tokens
        return encode(values, prefix, self.bags[name])

    def _hidden(self, batch, random):
        found = {}
        if "image" in self.masks:
            found |= self.masks["image"].entries("image", len(batch["images"]), random)
        if "text" in self.masks:
            ids, real = batch["token_ids"], batch["padding_mask"]
            masked, more = self.masks["text"].entries("masked", ids, real, random)
            found |= {"masked_token_ids": masked, "masked_padding_mask": real} | more
        return found

    def row(self, number, random) -> Any:
        """A row of the source, for a pair whose random numbers are drawn from `random`, None for none."""
        return self.rows[number]

    def _pair(self, number, random):
        index, caption = self.pair(number)
        row = self.row(index, random)
        chosen = self._chosen_captions(row, random) if caption is None else [caption]
        try:
            pixels = self._pixels(opened(row.image), random)
            pictures = {name: self._decoded(row.more[name][chosen[0]]) for name in self.pictures}
        except ValueError as error:
            raise ValueError(f"{row.place}: {error}") from error
        texts = [self._text(row.captions[each], random) for each in chosen]
        return Pair(number, row, chosen, pixels, texts[0] if self.captions_per_image is None else texts, pictures)

    def open(self, number, random=None) -> None:
        index, caption = self.pair(number)
        row = self.row(index, random)
        try:
            self._decoded(row.image)
            for name in self.pictures:
                self._decoded(row.more[name][caption or 0])
        except ValueError as error:
            raise ValueError(f"{row.place}: {error}") from error

    def _decoded(self, value):
        """A picture, or several, that can be read for sure."""
        if is_bag(value):
            return [self._decoded(each) for each in value]
        value, steps = opened(value), self.preprocessor.images
        return value if is_ready(value, steps.image_size) else steps.decode(value)

    def _chosen_captions(self, row, random):
        """Numbers of the captions of a row that are shown."""
        count = len(row.captions)
        if self.captions_per_image is not None:
            order = random.permutation(count) if self.shuffle else np.arange(count)
            return order[: self.captions_per_image].tolist()
        return [int(random.integers(count)) if self.shuffle and count > 1 else 0]

    def _pixels(self, image, random):
        steps = self.preprocessor.images
        return steps(image) if self.augmentation is None else self.augmentation(image, steps, random)

    def _text(self, caption, random):
        return drop_words(caption, self.word_dropout, random) if self.word_dropout else caption

    @property
    def truncated(self) -> int:
        return self.cut.count

    def on_epoch_end(self) -> None:
        self.cut.end_epoch(f"of the {min(len(self) * self.batch_size, self.count)} captions")
        super().on_epoch_end()


def _longest(values):
    """Members of the longest of some bags; None where there are none."""
    return max((len(value) for value in values if is_bag(value)), default=None)
