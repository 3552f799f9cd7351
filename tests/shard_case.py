"""What tests of shards need: tars by code, of good and of bad members."""

import io
import json
import tarfile

import numpy as np
from PIL import Image
from shared_case import toy_pairs

PAIRS = toy_pairs(24)


def png(number):
    """One of the toy pictures as a file."""
    content = io.BytesIO()
    Image.fromarray(PAIRS["images"][number]).save(content, "PNG")
    return content.getvalue()


def tar_of(members, form=tarfile.USTAR_FORMAT):
    """A tar as bytes, of `(name, content)`; a `TarInfo` in place of the name says all of a member."""
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w", format=form) as tar:
        for name, data in members:
            info = name if isinstance(name, tarfile.TarInfo) else tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return content.getvalue()


def sample(number, captions=None, key=None):
    """The members of a good sample; several captions go into its .json."""
    key = f"{number:04d}" if key is None else key
    if captions is None:
        return [(f"{key}.png", png(number)), (f"{key}.txt", PAIRS["captions"][number].encode())]
    return [(f"{key}.png", png(number)), (f"{key}.json", json.dumps({"captions": captions}).encode())]


def write_shards(folder, counts, name="data-{:04d}.tar"):
    """Shards of so many toy pairs each, one after the other; returns the pattern of their names."""
    first = 0
    for number, count in enumerate(counts):
        members = [each for at in range(first, first + count) for each in sample(at)]
        (folder / name.format(number)).write_bytes(tar_of(members))
        first += count
    return str(folder / "data-*.tar")


def texts_of(steps, batch):
    """The captions of a batch."""
    return steps.tokenizer.decode(batch["token_ids"])


def ids_of(data, epoch=0):
    """Numbers of the samples of an epoch, an array for each batch; `data` has `ids`."""
    return [np.asarray(data.at(epoch, index)["ids"]) for index in range(len(data))]
