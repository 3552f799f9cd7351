"""Any picture to one uint8 array of the size a tower takes. Needs only numpy and Pillow."""

import io
import os

import numpy as np
from PIL import Image, UnidentifiedImageError

RESIZES = ("shortest", "squash", "longest")
INTERPOLATIONS = {"bicubic": Image.Resampling.BICUBIC, "bilinear": Image.Resampling.BILINEAR}


class ImageSteps:
    """Decode, RGB, resize, crop: the image half of a preprocessor. Normalisation is inside the tower.

    Resizing is Pillow's, which antialiases; sizes and crops are rounded as open_clip rounds them, so the
    pixels equal those that its checkpoints were trained on.

    Args:
        image_size: side in pixels, or `(height, width)`.
        resize: `"shortest"` scales until the picture covers the size and crops the centre, `"squash"`
            scales height and width apart, `"longest"` scales until the picture fits and pads with black.
        interpolation: `"bicubic"` or `"bilinear"`.
        resize_size: side or `(height, width)` that the resize aims at, where the centre that is cropped afterwards
            is smaller; default `image_size`.

    Example:
        >>> ImageSteps(224)("cat.jpg").shape
        (224, 224, 3)
    """

    kind = "pixels"

    def __init__(self, image_size, resize="shortest", interpolation="bicubic", resize_size=None):
        if resize not in RESIZES:
            raise ValueError(f"resize {resize!r} is unknown; choose one of {', '.join(RESIZES)}.")
        if interpolation not in INTERPOLATIONS:
            raise ValueError(f"interpolation {interpolation!r} is unknown; choose one of {', '.join(INTERPOLATIONS)}.")
        self.image_size = _pair(image_size)
        self.resize, self.interpolation = resize, interpolation
        self.resize_size = None if resize_size is None else _pair(resize_size)

    def __call__(self, source):
        """One picture to pixels.

        Args:
            source: path, bytes of an image file, PIL image, or array `(height, width, 3)` with values in
                [0, 255] (floats are rounded).

        Returns:
            uint8 array `(height, width, 3)`.

        Raises:
            ValueError: the source cannot be read as a picture.
        """
        if is_ready(source, self.image_size):
            return source
        picture = decode(source)
        target = self.resize_size or self.image_size
        size = {"squash": target, "longest": _fit(picture, target, max), "shortest": _cover(picture, target)}[
            self.resize
        ]
        return np.asarray(_centre(self._scaled(picture, size), self.image_size))

    def set_image_size(self, image_size):
        """Take another size `(height, width)`; the crop keeps its share of the picture."""
        if self.resize_size is not None:
            sides = zip(self.resize_size, image_size, self.image_size)
            self.resize_size = tuple(round(resized * new / old) for resized, new, old in sides)
        self.image_size = tuple(image_size)

    @staticmethod
    def batch(pictures):
        """What a model takes: `images` `(n, height, width, 3)`."""
        return {"images": np.stack(pictures)}

    def get_config(self):
        return {
            "kind": self.kind,
            "image_size": list(self.image_size),
            "resize": self.resize,
            "interpolation": self.interpolation,
            "resize_size": self.resize_size and list(self.resize_size),
        }

    def _scaled(self, picture, size):
        height, width = size
        if picture.size == (width, height):
            return picture
        return picture.resize((width, height), INTERPOLATIONS[self.interpolation])


def _pair(size):
    return (size, size) if isinstance(size, int) else tuple(size)


def is_ready(source, image_size):
    """Whether a source is pixels of the right size already, with nothing left to do."""
    return isinstance(source, np.ndarray) and source.dtype == np.uint8 and source.shape == (*image_size, 3)


def decode(source):
    """A path, bytes, PIL image or array as a PIL image in RGB."""
    if isinstance(source, Image.Image):
        return source.convert("RGB")
    if isinstance(source, (str, os.PathLike)):
        return _opened(source, name=os.fspath(source))
    if isinstance(source, (bytes, bytearray, memoryview)):
        return _opened(io.BytesIO(source), name=f"{len(source)} bytes")
    return Image.fromarray(_pixels(np.asarray(source)))


def _opened(file, name):
    try:
        with Image.open(file) as picture:
            return picture.convert("RGB")
    except FileNotFoundError as error:
        raise ValueError(f"there is no image file {name}.") from error
    except (UnidentifiedImageError, OSError, SyntaxError, Image.DecompressionBombError) as error:
        raise ValueError(f"{name} cannot be read as an image: {error}.") from error


def _pixels(array):
    if array.ndim != 3 or array.shape[-1] != 3:
        raise ValueError(
            f"an image array has shape {array.shape}, but (height, width, 3) is expected, channels last; for "
            "grey or transparent pictures pass a PIL image, which is converted."
        )
    if array.dtype == np.uint8:
        return array
    low, high = (float(array.min()), float(array.max())) if array.size else (0.0, 0.0)
    if not (low >= 0.0 and high <= 255.0):
        raise ValueError(f"an image array holds values from {low:g} to {high:g}; pixels lie in [0, 255].")
    if high <= 1.0 and np.any(array % 1):
        raise ValueError("an image array holds fractions up to 1; pixels lie in [0, 255], multiply by 255.")
    return np.rint(array).astype("uint8")


def _fit(picture, size, pick):
    """`(height, width)` after scaling both sides by one ratio, the larger or smaller of the two."""
    width, height = picture.size
    ratio = pick(height / size[0], width / size[1])
    return max(1, round(height / ratio)), max(1, round(width / ratio))


def _cover(picture, size):
    width, height = picture.size
    if size[0] != size[1]:
        return _fit(picture, size, min)
    short, long = sorted((height, width))
    long = int(size[0] * long / short)  # truncated, as torchvision's Resize does for square targets
    return (size[0], long) if height <= width else (long, size[0])


def _centre(picture, size):
    """Crop or pad with black around the centre to `(height, width)`."""
    height, width = size
    if picture.size == (width, height):
        return picture
    left, top = (_offset(have, want) for have, want in zip(picture.size, (width, height)))
    return picture.crop((left, top, left + width, top + height))


def _offset(have, want):
    return round((have - want) / 2) if have >= want else -((want - have) // 2)
