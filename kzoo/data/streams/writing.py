"""`kzoo.data.write_shards` and `kzoo.data.write_index`."""

import hashlib
import io
import json
import os
import tarfile
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from kzoo.arguments import AMOUNT, COUNT, FLAG, NAME, PATH, takes
from kzoo.data.arguments import COLUMNS
from kzoo.data.columns import opened
from kzoo.data.held import undecoded
from kzoo.data.skipping import listed
from kzoo.data.sources import read_source
from kzoo.data.streams.asked import Asked
from kzoo.data.streams.index import INDEX, KIND, VERSION, shown
from kzoo.data.streams.locations import Opener, expanded, local_path, short
from kzoo.data.streams.rows import open_shard
from kzoo.files import disk, limits
from kzoo.files.opening import read_bytes
from kzoo.files.single import replacing
from kzoo.files.writing import try_folder, writing
from kzoo.preprocessing.decoding import format_of

PIECE = 2**20  # bytes that are read at a time
WHOLE = "shards are not whole"
NAMED = "data-{:05d}.tar"
ENDINGS = {"JPEG": "jpg", "TIFF": "tif", "JPEG2000": "jp2", "DIB": "bmp"}  # of formats that are not their own


@takes(
    folder=PATH,
    shard_size=COUNT,
    shuffle=FLAG,
    seed=AMOUNT,
    skip_broken=FLAG,
    image_key=NAME,
    caption_key=NAME,
    columns=COLUMNS,
    overwrite=FLAG,
)
def write_shards(
    source,
    folder,
    shard_size=10_000,
    shuffle=True,
    seed=0,
    skip_broken=False,
    image_key="image",
    caption_key="caption",
    columns=(),
    overwrite=False,
) -> list[Path]:
    """Write pairs as tar shards of WebDataset, with an index.

    The bytes of pictures stay as they are; PIL images and arrays become PNG. A sample has its first caption in a
    `.txt`, and all of them in the `captions` of a `.json` where it has several; columns are in the `.json` too. When
    all of it is written the folder has the shards and `index.json`, with the number of samples, the bytes and the
    sha256 of each; until then nothing of it is changed.

    Args:
        source: anything that `kzoo.data.pairs` takes: a table, a folder, records, a data frame, a `Dataset`, a dict.
        folder: to write into; made if it is not there.
        shard_size: pairs of a shard.
        shuffle: write the pairs in an order of `seed`, as training wants them; else in that of the source.
        seed: of that order.
        skip_broken: go on without rows that are missing or no pictures, and say which; otherwise they are an error.
        image_key, caption_key, columns: see `kzoo.data.pairs`; names of classes are written as names.
        overwrite: whether what stands in the folder may be replaced.

    Returns:
        list of the paths of the shards.

    Raises:
        ValueError: broken rows, or none; a column that differs between captions of one picture.
        FileExistsError: the folder holds shards, or something else.
        OSError: see `kzoo.files.writing.writing`.

    Example:
        >>> kzoo.data.write_shards("photos.csv", "shards")
        [PosixPath('shards/data-00000.tar')]
        >>> data = kzoo.data.shards("shards", model.preprocessor)
    """
    if not overwrite and os.path.exists(Path(folder) / INDEX):
        raise FileExistsError(f"{folder} holds shards; choose another folder, or replace them with overwrite=True.")
    try_folder(folder, KIND, overwrite)  # before the work
    found = read_source(undecoded(source, image_key), image_key, caption_key, columns)
    if found.broken and not skip_broken:
        raise ValueError(f"{listed(found.broken)} Mend the source, or go on without them: skip_broken=True.")
    if not found.rows:
        raise ValueError("the source holds no pair that can be used.")
    order = np.random.default_rng(seed).permutation(len(found.rows)) if shuffle else range(len(found.rows))
    samples = _Samples(found, order, skip_broken)
    with writing(folder, KIND, overwrite) as place:
        shards = []
        while not samples.ended:
            name = NAMED.format(len(shards))
            shards.append(_write_shard(place / name, samples.next(shard_size)))
        disk.write(place / INDEX, _index(shards))
    if samples.broken:
        warnings.warn(listed(samples.broken), stacklevel=2)
    return [Path(folder) / shard["name"] for shard in shards]


@takes(output=PATH, skip_broken=FLAG, allow_pipes=FLAG)
def write_index(source, output=None, skip_broken=False, allow_pipes=False) -> Path:
    """Write the index of shards that are there: samples, bytes and sha256 of each, so that they are counted once.

    Args:
        source: shards, see `kzoo.data.shards`.
        output: path of the index; default `index.json` beside the shards.
        skip_broken: count what can be read of shards that are not whole, and say which.
        allow_pipes: see `kzoo.data.shards`.

    Returns:
        The path of the index.

    Raises:
        ValueError: shards that are not whole, of equal names, or that lie in several places where no `output` is given.

    Example:
        >>> kzoo.data.write_index("data-{0000..0999}.tar")
        PosixPath('index.json')
    """
    names, opener = expanded(source), Opener(allow_pipes=allow_pipes)
    opener.check(names)
    folders = {os.path.dirname(local_path(name) or "://") for name in names}
    if output is None and (len(folders) > 1 or "://" in folders or any(local_path(name) is None for name in names)):
        raise ValueError("the shards do not lie in one folder of this machine; say where their index goes: output=.")
    if len(set(map(short, names))) < len(names):
        raise ValueError("two shards have one name, in different folders; write an index for each folder.")
    path, shards, broken = Path(folders.pop()) / INDEX if output is None else Path(output), [], []
    with replacing(path) as target:
        for name in shown(names, "reading shards", len(names)):
            with opener(name) as file:
                digest = hashlib.sha256()
                while piece := file.read(PIECE):
                    digest.update(piece)
                shard = open_shard(file, name, Asked())
                broken += [shard.problem] if shard.problem else []
                size = file.seek(0, os.SEEK_END)
            shards.append({"name": short(name), "samples": len(shard), "bytes": size, "sha256": digest.hexdigest()})
        if broken and not skip_broken:
            raise ValueError(f"{listed(broken, WHOLE)} Mend them, or go on: skip_broken=True.")
        target.write(_index(shards))
    if broken:
        warnings.warn(listed(broken, WHOLE), stacklevel=2)
    return path


class _Samples:
    """The rows of a source as members of a tar, so many at a time.

    Attributes:
        ended: whether there are no more.
        broken: a sentence for each row that was left out.
    """

    def __init__(self, source, order, skip_broken):
        self.rows, self.skip_broken, self.broken = source.rows, skip_broken, list(source.broken)
        self.names = {name: list(ids) for name, ids in source.classes.items()}
        self.order = iter(shown(order, "writing pairs", len(order), least=0))
        self.count, self.ended, self._held = 0, False, None
        self._read_ahead()

    def next(self, count) -> Iterator[tuple]:
        """Members of so many samples, each a list of endings and contents, under a number for its name."""
        while count and not self.ended:
            yield f"{self.count:09d}", self._held
            self.count, count = self.count + 1, count - 1
            self._read_ahead()

    def _read_ahead(self):
        """The next sample that can be read, by which it is known whether a further shard is begun."""
        for number in self.order:
            row = self.rows[number]
            try:
                self._held = [_picture(opened(row.image)), *self._texts(row)]
                return
            except ValueError as error:
                problem = f"{row.place}: {str(error).rstrip('.')}"
                if not self.skip_broken:
                    raise ValueError(f"{problem}. Mend the source, or go on without it: skip_broken=True.") from error
                self.broken.append(problem)
        if not self.count and self._held is None:
            raise ValueError(f"no row of the source can be written; the first: {self.broken[0]}.")
        self.ended = True

    def _texts(self, row):
        record = {"captions": row.captions} if len(row.captions) > 1 else {}
        for name, values in row.more.items():
            first = values[0]
            if any(not np.array_equal(each, first) for each in values):
                raise ValueError(f"the {name} differs between captions of one picture, but a sample has one")
            record[name] = self.names[name][int(first)] if name in self.names else np.asarray(first).tolist()
        texts = [("txt", row.captions[0].encode())]
        return [*texts, ("json", json.dumps(record, ensure_ascii=False).encode())] if record else texts


def _picture(image):
    """Ending and bytes of a picture, which are its own where it has some."""
    if isinstance(image, (str, os.PathLike)):
        image = read_bytes(image, limits.PICTURE)
    if isinstance(image, bytes):
        kind = format_of(image)
        return ENDINGS.get(kind, kind.lower()), image
    image = image if isinstance(image, Image.Image) else Image.fromarray(np.asarray(image))
    content = io.BytesIO()
    image.save(content, "PNG")
    return "png", content.getvalue()


class _Counted:
    """A file to write into, whose content is handed over, counted and digested."""

    def __init__(self, put):
        self.put, self.size, self.digest = put, 0, hashlib.sha256()

    def write(self, piece) -> int:
        self.put(piece)
        self.digest.update(piece)
        self.size += len(piece)
        return len(piece)


def _write_shard(path, samples):
    """Write a tar; returns what the index says of it."""
    found = {"name": path.name, "samples": 0}

    def content(put):
        file = _Counted(put)
        with tarfile.open(fileobj=file, mode="w|", format=tarfile.USTAR_FORMAT) as tar:
            for key, members in samples:
                for ending, data in members:
                    member = tarfile.TarInfo(f"{key}.{ending}")  # of no time and no owner: equal pairs, equal bytes
                    member.size = len(data)
                    tar.addfile(member, io.BytesIO(data))
                found["samples"] += 1
        found.update(bytes=file.size, sha256=file.digest.hexdigest())

    disk.write(path, content)
    return found


def _index(shards):
    return (json.dumps({"kzoo": KIND, "version": VERSION, "shards": shards}, indent=1) + "\n").encode()
