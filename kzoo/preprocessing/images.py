"""Any picture to one uint8 array of the size a tower takes. Needs only numpy and Pillow."""

import math

import numpy as np
from PIL import Image

from kzoo.arguments import SIZE, Checked, one_of
from kzoo.preprocessing.decoding import AS_SHOWN, DECODINGS, decode
from kzoo.preprocessing.pixels import check_pixels
from kzoo.types import Array

RESIZES = ("shortest", "squash", "longest")
INTERPOLATIONS = {"bicubic": Image.Resampling.BICUBIC, "bilinear": Image.Resampling.BILINEAR}
EVEN, FLOOR = "even", "floor"
ROUNDINGS = {EVEN: round, FLOOR: math.floor}  # of a place at half a pixel: Python's `round` goes to the even one
REACH = 3.0  # pixels around a place that make it, and one more
LONG = 16  # a picture of which the crop shows less than one part in so many is cropped before it is resized


class Pictures(Checked):
    """What the image steps share: `decoding`, `interpolation`."""

    def decode(self, source) -> Image.Image:
        """A source as a PIL image in RGB, of the size it has."""
        return decode(source, self.decoding)

    def like(self, image_size) -> "ImageSteps":
        """`ImageSteps` that decode and interpolate as these do, to another size."""
        return ImageSteps(image_size, interpolation=self.interpolation, decoding=self.decoding)


class ImageSteps(Pictures):
    """Decode, RGB, resize, crop: the image half of a preprocessor. Normalisation is inside the tower.

    Resizing is Pillow's, which antialiases; sizes are rounded as open_clip and transformers round them, and crops as
    `crop_rounding` says, so the pixels equal those that their checkpoints were trained on.

    Args:
        image_size: side in pixels, or `(height, width)`.
        resize: `"shortest"` scales until the picture covers the size and crops the centre, `"squash"`
            scales height and width apart, `"longest"` scales until the picture fits and pads with black.
        interpolation: `"bicubic"` or `"bilinear"`.
        resize_size: side or `(height, width)` that the resize aims at, where the centre that is cropped afterwards
            is smaller; default `image_size`.
        decoding: `"as_shown"`, the picture as a viewer shows it: upright by its EXIF orientation, over white where it
            is transparent, more than 8 bits scaled to 8; or `"as_trained"`, the pixels that open_clip and transformers
            make, which presets of their checkpoints ask for. See `kzoo.preprocessing.decoding.decode`.
        crop_rounding: where a crop begins that would begin at half a pixel: `"even"`, at the even pixel beside it, as
            in open_clip; or `"floor"`, at the one before, as in transformers.

    Example:
        >>> ImageSteps(224)("cat.jpg").shape
        (224, 224, 3)
    """

    kind = "pixels"
    arguments = {
        "image_size": SIZE,
        "resize": one_of(*RESIZES),
        "interpolation": one_of(*INTERPOLATIONS),
        "resize_size": SIZE,
        "decoding": one_of(*DECODINGS),
        "crop_rounding": one_of(*ROUNDINGS),
    }

    def __init__(
        self,
        image_size,
        resize="shortest",
        interpolation="bicubic",
        resize_size=None,
        decoding=AS_SHOWN,
        crop_rounding=EVEN,
    ):
        self.image_size, self.decoding = _pair(image_size), decoding
        self.resize, self.interpolation = resize, interpolation
        self.resize_size = None if resize_size is None else _pair(resize_size)
        self.crop_rounding = crop_rounding

    def __call__(self, source) -> Array:
        """One picture to pixels.

        Args:
            source: path, bytes of an image file, PIL image, or array `(height, width, 3)` with values in
                [0, 255] (floats are rounded, False and True are 0 and 255).

        Returns:
            uint8 array `(height, width, 3)`.

        Raises:
            ValueError: the source cannot be read as a picture.
        """
        if is_ready(source, self.image_size):
            return source
        picture = self.decode(source)
        target = self.resize_size or self.image_size
        size = {"squash": target, "longest": _fit(picture, target, max), "shortest": _cover(picture, target)}[
            self.resize
        ]
        return np.asarray(self._scaled_centre(picture, size))

    def __repr__(self) -> str:
        height, width = self.image_size
        return f"<ImageSteps to {height} x {width} pixels, {self.resize}, {self.interpolation}, {self.decoding}>"

    def set_image_size(self, image_size) -> None:
        """Take another size `(height, width)`; the crop keeps its share of the picture."""
        if self.resize_size is not None:
            sides = zip(self.resize_size, image_size, self.image_size)
            self.resize_size = tuple(round(resized * new / old) for resized, new, old in sides)
        self.image_size = tuple(image_size)

    @staticmethod
    def batch(pictures) -> dict:
        """What a model takes: `images` `(n, height, width, 3)`."""
        return {"images": np.stack(pictures)}

    def get_config(self) -> dict:
        return {
            "kind": self.kind,
            "image_size": list(self.image_size),
            "resize": self.resize,
            "interpolation": self.interpolation,
            "resize_size": self.resize_size and list(self.resize_size),
            "decoding": self.decoding,
            "crop_rounding": self.crop_rounding,
        }

    def _scaled_centre(self, picture, size):
        """The centre of the picture scaled to `size`."""
        sampling, full = INTERPOLATIONS[self.interpolation], (size[1], size[0])
        shown = tuple(map(min, full, self.image_size[::-1]))
        if math.prod(full) > LONG * math.prod(shown):  # of a line of 10,000 x 1 pixels, gigabytes would be made first
            box = self._shown_box(picture.size, full, shown)
            # one side after the other, in the order that Pillow takes for the whole, since it rounds in between
            upright = picture.width < picture.height and full[1] < picture.height
            for side in (1, 0) if upright else (0, 1):
                picture, box = _scaled_side(picture, side, shown[side], box, full, sampling)
        elif picture.size != full:
            if shown[0] < full[0] < picture.width > picture.height != full[1]:
                # Pillow scales the width of these first: what the crop leaves out of it need not go into the heights
                picture = picture.resize((full[0], picture.height), sampling)
                left, full = self._offset(full[0], shown[0]), (shown[0], full[1])
                picture = picture.crop((left, 0, left + shown[0], picture.height))
            picture = picture.resize(full, sampling)
        return self._centre(picture)

    def _centre(self, picture):
        """Crop or pad with black around the centre to `image_size`."""
        height, width = self.image_size
        if picture.size == (width, height):
            return picture
        left, top = (self._offset(have, want) for have, want in zip(picture.size, (width, height)))
        return picture.crop((left, top, left + width, top + height))

    def _shown_box(self, have, full, shown):
        """Where the centre `shown` of a picture scaled from `have` to `full` lies in it; all `(width, height)`."""
        starts = [self._offset(whole, part) for whole, part in zip(full, shown)]
        ends = [start + part for start, part in zip(starts, shown)]
        return [place * side / whole for places in (starts, ends) for place, side, whole in zip(places, have, full)]

    def _offset(self, have, want):
        if have < want and self.crop_rounding == EVEN:
            return -((want - have) // 2)  # open_clip pads before it crops
        return ROUNDINGS[self.crop_rounding]((have - want) / 2)


def _scaled_side(picture, side, length, box, full, sampling):
    """One side (0: the width) of the part `box` of a picture scaled to `length`, and what the box is in that.

    Args:
        full: what the whole would be scaled to.
    """
    other, box, cut = 1 - side, list(box), [0, 0, *picture.size]
    reach = REACH * max(1.0, picture.size[other] / full[other])  # what the other side will be made of, and no more
    cut[other] = max(0, math.floor(box[other] - reach))
    cut[other + 2] = min(picture.size[other], math.ceil(box[other + 2] + reach))
    box[other], box[other + 2] = box[other] - cut[other], box[other + 2] - cut[other]
    picture = picture.crop(tuple(cut))
    size, of_side = list(picture.size), [0, 0, *picture.size]
    size[side], of_side[side], of_side[side + 2] = length, box[side], box[side + 2]
    picture = picture.resize(tuple(size), sampling, box=tuple(of_side))
    box[side], box[side + 2] = 0, length
    return picture, box


def _pair(size):
    return tuple(map(int, (size, size) if np.ndim(size) == 0 else size))


def is_ready(source, image_size) -> bool:
    """Whether a source is pixels of the right size already, with nothing left to do."""
    array = isinstance(source, np.ndarray) and source.dtype == np.uint8
    ready = array and image_size is not None and source.shape == (*image_size, 3)
    if ready:
        check_pixels(source)
    return ready


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
