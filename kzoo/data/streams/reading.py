"""`kzoo.data.shards`."""

import warnings

from kzoo.arguments import COUNT, FLAG, NAME, PATH, RATE, instance, takes
from kzoo.data.arguments import AUGMENTATION, BATCHING, COLUMNS, PREPROCESSOR
from kzoo.data.crops import Crops
from kzoo.data.skipping import listed
from kzoo.data.streams.asked import asked_for
from kzoo.data.streams.dataset import ShardDataset
from kzoo.data.streams.iterable import KEPT, StreamDataset, StreamRows, is_stream
from kzoo.data.streams.locations import Opener, expanded
from kzoo.data.streams.rows import ShardRows


@takes(
    **{name: kind for name, kind in BATCHING.items() if name not in ("sampler", "matrices")},
    preprocessor=PREPROCESSOR,
    shuffle_buffer=COUNT,
    augmentation=AUGMENTATION,
    word_dropout=RATE,
    every_caption=FLAG,
    skip_broken=FLAG,
    image_key=NAME,
    caption_key=NAME,
    columns=COLUMNS,
    captions_per_image=COUNT,
    crops=instance(Crops, "a kzoo.data.Crops"),
    index=PATH,
    count=COUNT,
    cache=PATH,
    allow_pipes=FLAG,
)
def shards(
    source,
    preprocessor,
    batch_size=64,
    shuffle=True,
    seed=0,
    shuffle_buffer=10_000,
    augmentation=None,
    word_dropout=0.0,
    every_caption=False,
    skip_broken=False,
    workers=2,
    image_key=None,
    caption_key=None,
    columns=(),
    captions_per_image=None,
    crops=None,
    masks=None,
    bag=None,
    ids=False,
    classes=None,
    index=None,
    count=None,
    cache=None,
    allow_pipes=False,
) -> ShardDataset:
    """A data set of image-text pairs in shards: tar files as WebDataset has them, or parquet files as the Hub has them.

    It goes into `fit`, `evaluate` and `predict` as `kzoo.data.pairs` does. Samples, not shards, are dealt out: batches
    are full and every process has as many of them, however the samples lie in shards, and there may be fewer shards
    than workers. The order is a function of `seed` and the epoch, whatever the number of workers and processes, and any
    batch of it is found without those before it.

    Args:
        source: path or URL of a shard; a pattern with braces, `"data-{0000..0999}.tar"`, or of the file system,
            `"data-*.tar"`; a folder of shards; a list of these; see below for URLs. Or an
            `IterableDataset` of Hugging Face, a stream, which every process reads from its start; a `Dataset` goes into
            `kzoo.data.pairs`.
        preprocessor: `model.preprocessor`.
        batch_size: pairs per batch of all processes together, at least 2.
        shuffle: shards in a new order each epoch, and samples shuffled within `shuffle_buffer`; the rest of the set
            that does not fill a batch is left out of that epoch. Without it the order is the source's and every pair is
            there.
        seed: of order, augmentation and choice of captions.
        shuffle_buffer: samples that are shuffled together, over up to 16 shards at once. Of tar shards only numbers are
            held; of parquet files their rows.
        augmentation, word_dropout, every_caption, captions_per_image, crops, masks, bag, ids: see `kzoo.data.pairs`. To
            make `every_caption` a pair all captions are counted before.
        skip_broken: go on without shards and samples that cannot be read, in training with others in their places. They
            are counted and listed as an epoch ends, with shard and key. Otherwise they are an error.
        workers: threads that prepare batches.
        image_key: ending of the pictures in a tar, such as `"left.jpg"`; default the first of a sample that is of a
            picture. Column of a parquet file; default `image`, or another usual name.
        caption_key: `"txt"`, or a field of the `.json` in a tar, or the column of a parquet file; for the default see
            below.
        columns: fields of the `.json`, or columns, that travel into the batch: numbers or names of classes.
        classes: of columns of names: a dict of columns and lists of names, or another data set.
        index: path or URL of an `index.json`, as `kzoo.data.write_shards` writes it, or of a `sizes.json` of names and
            numbers of samples; default the one that lies beside local shards. Without one the samples are counted
            first, by a look at the headers of each shard.
        count: samples of a stream; default a pass over it counts them.
        cache: folder in which shards from URLs are kept; default none: each is a temporary file while it is read.
        allow_pipes: whether sources that begin with `pipe:` are run as commands of the shell.

    What a sample is:

    - in a tar, members beside each other whose names are one up to the first point of the last part: a picture (`jpg`,
      `png`, `webp`, ...), and captions. The list `captions` in its `.json` goes before its `.txt`, one caption, and
      that before the `caption` of its `.json`. Nothing is written under names in a tar. Links, pipes and devices in it
      are passed over;
    - in a parquet file, a row with the bytes of a picture, alone or as `{"bytes": ..., "path": ...}`, and captions in a
      column `captions`, `caption`, `text` or `txt`, strings or lists of them.

    Shards from URLs are opened by the `webdataset` library: `https:`, `gs:`, `hf:`, `ais:`, `sftp:`, ..., and others by
    `pipe:`. Each is fetched whole before it is read, the next ones beside the training.

    Returns:
        `ShardDataset`, whose batches hold what those of `kzoo.data.pairs` hold.

    Raises:
        TypeError: a source that is none.
        ValueError: shards that are not there or not whole; no pair, or too few for a batch; a command that is not
            allowed.
        ImportError: the extra `shards` is not installed, for patterns with braces, URLs and parquet files.

    Example:
        >>> data = kzoo.data.shards("data-{0000..0999}.tar", model.preprocessor, batch_size=4096)
        >>> model.fit(data, epochs=10)

    Reference:
        Aizman, Maltby and Breuel, "High Performance I/O For Large Scale Deep Learning", 2019, arXiv:2001.01858.
    """
    asked, kind = asked_for(image_key, caption_key, columns, classes), ShardDataset
    if is_stream(source):
        kind, kept = StreamDataset, KEPT * batch_size
        rows = StreamRows(source, asked, count, kept, shuffle_buffer if shuffle else None, seed)
    else:
        if count is not None:
            raise ValueError(f"count is {count}, but only a stream is counted so; shards have an index=.")
        found = expanded(source)
        opener = Opener(cache, allow_pipes)
        opener.check(found)
        rows = ShardRows(found, opener, asked, index, shuffle_buffer)
    if rows.problems:
        said = listed(rows.problems, f"of the {len(found)} shards are not whole")
        if not skip_broken:
            raise ValueError(f"{said} Mend them, or go on with what can be read of them: skip_broken=True.")
        warnings.warn(said, stacklevel=3)
    return kind(
        rows,
        preprocessor,
        buffer=shuffle_buffer,
        batch_size=batch_size,
        shuffle=shuffle,
        seed=seed,
        augmentation=augmentation,
        word_dropout=word_dropout,
        every_caption=every_caption,
        skip_broken=skip_broken,
        broken=rows.problems,
        workers=workers,
        captions_per_image=captions_per_image,
        crops=crops,
        masks=masks,
        bag=bag,
        ids=ids,
    ).of_source(source, asked.classes)
