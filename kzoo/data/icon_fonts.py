"""Icon fonts as image-text pairs: thousands of drawings with descriptive names, in a wheel of 600 kB."""

import logging
import zlib

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from kzoo.arguments import NAME, SIDE, one_of, takes
from kzoo.extras import require

logger = logging.getLogger("kzoo")

SPLITS = ("train", "test", "all")
HELD_OUT = 10  # one name in ten


@takes(split=one_of(*SPLITS), size=SIDE, font=NAME)
def icons(split="all", size=64, font="fonticon_mdi7.MDI7") -> dict:
    """Pairs of an icon, black on white, and its name in words ("book lock open outline").

    A fixed hash of the name holds out one icon in ten as the test part. Some fonts draw one picture under
    two names: a drawing of the test part never occurs in the train part.

    Args:
        split: `"train"`, `"test"` or `"all"`.
        size: side of the pictures in pixels.
        font: class of an icon font package as `superqt` defines them, `"package.Class"`. The default is
            Material Design Icons 7 (7,296 icons, Apache-2.0) of `fonticon-materialdesignicons7`.

    Returns:
        dict: `"images"` uint8 `(n, size, size, 3)` and `"captions"`, a list of `n` strings. `kzoo.data.pairs`
        takes it as a source.

    Raises:
        ImportError: the font is not installed.
        ValueError: unknown split, or not an icon font.

    Example:
        >>> icons("test")["captions"][:2]
        ['account alert', 'account arrow left']
    """
    names, characters, face = _read_font(font, size)
    held_out = [zlib.crc32(name.encode()) % HELD_OUT == 0 for name in names]
    wanted = {"train": (False,), "test": (True,), "all": (False, True)}[split]
    indices = [index for index, hold in enumerate(held_out) if hold in wanted]
    drawings = [_draw(characters[index], face, size) for index in indices]
    if split == "train":
        tested = {_draw(character, face, size).tobytes() for character, hold in zip(characters, held_out) if hold}
        kept = [drawing.tobytes() not in tested for drawing in drawings]
        logger.info("%d icons are drawn as one of the test part and left out of training", kept.count(False))
        indices, drawings = ([item for item, keep in zip(items, kept) if keep] for items in (indices, drawings))
    grey = np.stack(drawings)
    return {
        "images": np.repeat(grey[..., None], 3, axis=-1),
        "captions": [names[index] for index in indices],
    }


def _read_font(font, size):
    package, _, class_name = font.rpartition(".")
    module = require(package, "demo", f"The icon font {font}")
    icon_font = getattr(module, class_name, None)
    if not hasattr(icon_font, "__font_file__"):
        raise ValueError(f"{font} is not an icon font; expected a class with __font_file__, such as MDI7.")
    names, characters = [], []
    for name, value in sorted(vars(icon_font).items()):
        if not name.startswith("__"):
            names.append(" ".join(name.split("_")).strip())  # "import_" carries a mark against the keyword
            characters.append(value.rpartition(".")[2])
    return names, characters, ImageFont.truetype(icon_font.__font_file__, size)


def _draw(character, face, size):
    left, top, right, bottom = face.getbbox(character, anchor="mm")
    extent = 2 * max(-left, -top, right, bottom, 1)
    if extent > size:  # wider than its square: draw it whole, then smaller
        return np.asarray(_drawn(character, face, extent).resize((size, size), Image.Resampling.BICUBIC))
    return np.asarray(_drawn(character, face, size))


def _drawn(character, face, size):
    picture = Image.new("L", (size, size), 255)
    ImageDraw.Draw(picture).text((size / 2, size / 2), character, font=face, fill=0, anchor="mm")
    return picture
