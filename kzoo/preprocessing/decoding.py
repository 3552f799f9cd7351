"""Any picture to 8-bit RGB: what becomes of orientation, of what is transparent, and of more than 8 bits."""

import io
import os
import re
import warnings

import numpy as np
from PIL import ExifTags, Image, ImageOps

from kzoo.arguments import shown
from kzoo.files import limits
from kzoo.files.opening import open_regular
from kzoo.files.words import on_one_line, said_by
from kzoo.preprocessing.pixels import check_pixels

AS_SHOWN, AS_TRAINED = "as_shown", "as_trained"
SOURCES = "give a path, the bytes of a file, a PIL image or an array (height, width, 3)"
DECODINGS = (AS_SHOWN, AS_TRAINED)
STRIP = 2**20  # pixels of a picture that are changed at a time: in between a pixel takes several times its room
DEEP = ("I", "F")  # modes of more than 8 bits, beside those of 16, "I;16" and its orders of bytes


def decode(source, decoding=AS_SHOWN) -> Image.Image:
    """A path, bytes, PIL image or array as a PIL image in RGB.

    `"as_shown"` gives what a viewer shows, by one rule each:

    - the orientation of its EXIF data is applied;
    - what is transparent lies over white;
    - 16 bits become 8 by their high byte; 32-bit whole numbers too, unless all lie in [0, 255]; floats in [0, 1] are
      multiplied by 255, those in [0, 255] rounded, others refused.

    `"as_trained"` gives what open_clip and transformers make of it, Pillow's `convert("RGB")` alone: pictures lie as
    they are stored, transparent pixels show the colour that is hidden there, and 16 bits are cut off at 255, which is
    said. Pictures of 8 bits without orientation or transparency have the same pixels either way.

    Args:
        source: see `ImageSteps`. Files and bytes are of one of `limits.PICTURE_FORMATS`.
        decoding: `"as_shown"` or `"as_trained"`.

    Raises:
        ValueError: the source cannot be read as a picture, has no pixels, or more than `limits.PIXELS`.
    """
    if isinstance(source, Image.Image):
        return _converted(source, "the picture", decoding)
    if isinstance(source, (str, os.PathLike)):
        return _from_file(source, on_one_line(os.fspath(source)), decoding)
    if isinstance(source, (bytes, bytearray, memoryview)):
        return _opened(io.BytesIO(source), f"{len(source)} bytes", decoding)
    if not hasattr(source, "__array__") and not isinstance(source, (list, tuple)):
        raise ValueError(f"a picture is {shown(source, typed=True)}; {SOURCES}.")
    try:
        array = np.asarray(source)
    except Exception as error:  # rows of different lengths, values of another device
        raise ValueError(f"a picture is {shown(source, typed=True)}; {SOURCES}.") from error
    return Image.fromarray(_pixels(array))


def format_of(content) -> str:
    """The format of a picture that lies in memory as a file, as Pillow calls it; only its head is looked at.

    Raises:
        ValueError: none of `limits.PICTURE_FORMATS`.

    Example:
        >>> format_of(Path("cat.jpg").read_bytes())
        'JPEG'
    """
    try:
        with Image.open(io.BytesIO(content), formats=_formats()) as picture:
            return picture.format
    except Exception as error:  # as below
        raise ValueError(f"{len(content)} bytes cannot be read as an image: {reason(error)}.") from error


def check_picture(source) -> None:
    """Stops at a path that leads to no picture, by its first bytes: whether all of it can be decoded is not known.

    Raises:
        ValueError: as `decode`.
    """
    if isinstance(source, (str, os.PathLike)):
        name = on_one_line(os.fspath(source))
        with _file(source, name) as file, _picture(file, name):
            return


def _from_file(path, name, decoding):
    with _file(path, name) as file:
        return _opened(file, name, decoding)


def _file(path, name):
    try:
        return open_regular(path)
    except FileNotFoundError as error:
        raise ValueError(f"there is no image file {name}.") from error
    except (OSError, ValueError) as error:
        raise ValueError(f"{name} cannot be read as an image: {reason(error)}.") from error


def _opened(file, name, decoding):
    with _picture(file, name) as picture:
        return _converted(picture, name, decoding, in_place=True)


def _picture(file, name):
    """What Pillow makes of the first bytes of a file, before it is decoded."""
    try:
        picture = Image.open(file, formats=_formats())
    except Exception as error:  # the decoders of Pillow raise whatever a damaged file makes them stumble over
        raise ValueError(f"{name} cannot be read as an image: {reason(error)}.") from error
    _check_pixels(name, *picture.size)
    return picture


def _check_pixels(name, width, height):
    if width * height > limits.PIXELS:
        raise ValueError(
            f"{name} is {width} x {height}, more than the {limits.PIXELS:,} pixels that are decoded; "
            "kzoo.files.limits.PIXELS raises that."
        )


def _converted(picture, name, decoding, in_place=False):
    """A picture in RGB; `in_place`: nobody else has it, so that what is left as it is need not be copied."""
    if not all(picture.size):
        raise ValueError(f"{name} has no pixels: it is {picture.width} x {picture.height}.")
    try:
        picture.load()
        deep = picture.mode in DEEP or picture.mode.startswith("I;16")
        if decoding == AS_TRAINED:
            return _clipped(picture, name) if deep else _as_rgb(picture, in_place)
        picture = _upright(picture, in_place)
        picture = _shallow(picture) if deep else picture
        return _over_white(picture) if picture.has_transparency_data else _as_rgb(picture, in_place)
    except Exception as error:  # as above
        raise ValueError(f"{name} cannot be read as an image: {reason(error)}.") from error


def _formats():
    """Those of `limits.PICTURE_FORMATS` that this Pillow was built with."""
    Image.init()
    return [name for name in limits.PICTURE_FORMATS if name in Image.OPEN]


def reason(error) -> str:
    """What a decoder said, without the object that it was given: one picture has one sentence."""
    return said_by(re.sub(r" <_io\.\w+ [^>]*>", "", str(error)) or type(error).__name__)


def _as_rgb(picture, in_place):
    return picture if in_place and picture.mode == "RGB" else picture.convert("RGB")


def _upright(picture, in_place):
    """The picture with its orientation applied; EXIF data that is damaged says nothing of one."""
    try:
        if picture.getexif().get(ExifTags.Base.Orientation, 1) == 1:
            return picture
        return ImageOps.exif_transpose(picture, in_place=in_place) or picture
    except Exception:  # as above
        return picture


def _strips(picture):
    """`(first row, strip)` of a picture, from top to bottom."""
    rows = max(1, STRIP // picture.width)
    for top in range(0, picture.height, rows):
        yield top, picture.crop((0, top, picture.width, min(top + rows, picture.height)))


def _over_white(picture):
    shown_over_white = Image.new("RGB", picture.size)
    for top, strip in _strips(picture):
        rgba = strip.convert("RGBA")
        white = Image.new("RGBA", rgba.size, "white")
        shown_over_white.paste(Image.alpha_composite(white, rgba).convert("RGB"), (0, top))
    return shown_over_white


def _shallow(picture):
    """A picture of more than 8 bits in 8."""
    ranges = np.array([(values.min(), values.max()) for _, values in _values(picture)], "float64")
    low, high = ranges[:, 0].min(), ranges[:, 1].max()
    if picture.mode == "F":
        if not 0.0 <= low <= high <= 255.0:
            raise ValueError(f"its floats lie in [{low:g}, {high:g}], but [0, 1] or [0, 255] is expected")
        scale = 255.0 if high <= 1.0 else 1.0
        return _eight_bits(picture, lambda values: np.rint(values * scale))
    if low < 0 or high > 65535:
        raise ValueError(f"its values lie in [{low:g}, {high:g}], but those of 16 bits are expected, [0, 65535]")
    if picture.mode == "I" and high <= 255:
        return _eight_bits(picture, lambda values: values)
    return _eight_bits(picture, lambda values: values.astype("int32") >> 8)


def _values(picture):
    """As `_strips`, the numbers of each."""
    return ((top, np.asarray(strip)) for top, strip in _strips(picture))


def _eight_bits(picture, change):
    """A picture of one number per pixel, of what a function makes of those of each strip."""
    grey = np.empty(picture.size[::-1], "uint8")
    for top, values in _values(picture):
        grey[top : top + len(values)] = change(values)
    return Image.fromarray(grey)


def _clipped(picture, name):
    high = picture.getextrema()[1]
    if high > 255 or (picture.mode == "F" and high <= 1):
        warnings.warn(
            f"{name} has values up to {high:g}, in more than 8 bits, of which the steps of this checkpoint make white "
            "or black alone; scale it to 8 bits, or set model.preprocessor.images.decoding = 'as_shown'.",
            stacklevel=2,
        )
    return picture.convert("RGB")


def _pixels(array):
    if array.ndim != 3 or array.shape[-1] != 3:
        raise ValueError(
            f"an image array has shape {array.shape}, but (height, width, 3) is expected, channels last; for "
            "grey or transparent pictures pass a PIL image, which is converted."
        )
    if not array.size:
        raise ValueError(f"an image array of shape {array.shape} has no pixels.")
    _check_pixels("an image array", array.shape[1], array.shape[0])
    if array.dtype == bool:
        return array * np.uint8(255)
    check_pixels(array)
    return array if array.dtype == np.uint8 else np.rint(array).astype("uint8")
