"""Image-text pairs as batches for `fit`, `evaluate` and `predict`."""

import warnings

from kzoo.arguments import COUNT, FLAG, NAME, RATE, instance, takes
from kzoo.data.arguments import AUGMENTATION, BATCHING, COLUMNS, PREPROCESSOR
from kzoo.data.crops import Crops
from kzoo.data.pair_dataset import PairDataset
from kzoo.data.skipping import listed
from kzoo.data.sources import read_source
from kzoo.files.words import on_one_line


@takes(
    **BATCHING,
    preprocessor=PREPROCESSOR,
    augmentation=AUGMENTATION,
    word_dropout=RATE,
    every_caption=FLAG,
    skip_broken=FLAG,
    image_key=NAME,
    caption_key=NAME,
    columns=COLUMNS,
    captions_per_image=COUNT,
    crops=instance(Crops, "a kzoo.data.Crops"),
)
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
    columns=(),
    captions_per_image=None,
    crops=None,
    masks=None,
    bag=None,
    ids=False,
    matrices=None,
    classes=None,
) -> PairDataset:
    """A data set of image-text pairs.

    Args:
        source: what people have, see below. Relative paths start at the table's folder, in records and data frames at
            the working directory.
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
            error. Where an image turns out unreadable while rows are drawn at random, another that is not in the batch
            takes its place; else the batch is smaller.
        workers: threads that prepare batches.
        image_key, caption_key: column names of tables.
        sampler: `SameGroup`, `NearLocations` or another, which says what rows make a batch; None: any. With `shuffle`
            only.
        columns: further columns of a table that travel into the batch, such as `("labels", "negatives")`.
        classes: of columns of names, whose ids are otherwise their places in the alphabet: a dict of columns and lists
            of names, in the order of the ids, or another data set, whose ids these rows shall have too. A name that is
            not among them breaks its row.
        captions_per_image: so many captions of each image, drawn anew each epoch, as a bag; of an image with fewer all.
        crops: `Crops`: parts of the image, of the caption, or both, as bags.
        masks: what of the batch is hidden: dict with a mask of patches for `"image"`, such as `RandomPatches`, and one
            of tokens for `"text"`, such as `RandomTokens`, or one of them.
        bag: `kzoo.preprocessing.BagOfWords`, for losses that read one of each caption.
        ids: whether a batch says which pair of the set each row is.
        matrices: dict of names and `Separations`, `Likeness`, `Edges` or `Lookup`: numbers of each pair of rows.

    Sources:

    - path of a `.csv`, `.tsv` or `.jsonl` file with a column for images and one for captions, which in jsonl may be
      lists. Each line is a row or a sentence: a field with commas is quoted, in a `.tsv` a quotation mark that opens no
      quoted field stands for itself. UTF-8, or UTF-16 with a byte-order mark;
    - path of a folder of images with a `.txt` of captions (one a line) beside each, or with a `metadata.csv` or
      `metadata.jsonl` of `file_name` and `text`, as Hugging Face has it. Hidden files are left alone;
    - a list of records `{"image": ..., "caption": ...}`, or a `DataFrame` of pandas or polars, whose images may be
      paths, bytes, PIL images or arrays;
    - a `Dataset` of Hugging Face, one split and no stream, whose captions may be called `text`. Its pictures are read
      when a batch needs them; columns of `ClassLabel` keep their names and ids;
    - a dict `{"images": ..., "captions": ...}`, such as `kzoo.data.icons()`, or a tuple of the two. Other entries of a
      dict travel into the batch.

    A caption that is empty or blank, an object by language, NaN or a number breaks its row.

    What a batch holds:

    - `images` `(batch, height, width, 3)`;
    - `token_ids`, `padding_mask` `(batch, length)`, with `captions_per_image` `(batch, n, length)` and `text_mask`
      `(batch, n)`, False where an image has fewer captions;
    - of a column of numbers, such as `labels`: `(batch, ...)`, under its name;
    - of a column of names, such as `species`, in which no text spells a number: the ids of its classes `(batch,)`;
    - of a column `negatives`, with a list for each image or one for each of its captions: `negative_token_ids`,
      `negative_padding_mask` `(batch, N, length)` and `negatives_mask` `(batch, N)`;
    - of columns `<prefix>_texts` or `<prefix>_images`: what `Preprocessor` says of them;
    - of `crops`: `crop_images` `(batch, n, height, width, 3)`, `crop_token_ids` and `crop_padding_mask`
      `(batch, n, length)`;
    - of a mask of `"image"`: `image_masked`, or `image_kept` and `image_dropped`;
    - of a mask of `"text"`: `masked_token_ids` and `masked_padding_mask`, a text of its own beside `token_ids`, which
      stay whole, `masked_labels`, the ids that were there, and `masked_positions`, those chosen, all `(batch, length)`;
    - of `bag`: `bag` `(batch, vocabulary)`; of `ids`: `ids` `(batch,)`; of `matrices`: `(batch, batch)`.

    Returns:
        `PairDataset`.

    Raises:
        TypeError: a source or a mask that is none.
        ValueError: broken rows, no rows, or too few for a batch; columns that do not fit.

    Example:
        >>> train = kzoo.data.pairs("photos.csv", model.preprocessor, batch_size=256)
        >>> model.fit(train, epochs=10)

        >>> train = kzoo.data.pairs("train.csv", model.preprocessor, columns=("species",))  # "cat", "dog"
        >>> train.classes["species"]
        ('cat', 'dog')
        >>> test = kzoo.data.pairs("test.csv", model.preprocessor, columns=("species",), classes=train)
    """
    found = read_source(source, image_key, caption_key, columns, classes)
    found.broken = list(map(on_one_line, found.broken))  # names of a table's pictures stand in them
    if found.broken and not skip_broken:
        raise ValueError(f"{listed(found.broken)} Mend the source, or go on without them: skip_broken=True.")
    if found.broken:
        warnings.warn(listed(found.broken), stacklevel=2)
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
        captions_per_image=captions_per_image,
        crops=crops,
        masks=masks,
        bag=bag,
        ids=ids,
        matrices=matrices,
    ).of_source(source, found.classes)
