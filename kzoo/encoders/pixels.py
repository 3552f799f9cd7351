"""What every image tower does with raw pixels: declare them, check them, sample them, normalise them."""

import numpy as np
from keras import ops

from kzoo.encoders.tower import Input, Tower
from kzoo.preprocessing.pixels import check_pixels
from kzoo.types import Tensor

CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)
# pixels that a user's own steps have made may overshoot [0, 255], as does noise of unit variance where there are no
# statistics; 16 bits and other units lie further
BEYOND = 1500.0


class ImageTower(Tower):
    """Base of the towers of raw pixels of one size. A subclass sets `image_size`."""

    modality = "image"

    @property
    def inputs(self) -> tuple:
        return (Input("images", (*self.image_size, 3), "uint8"),)

    def wants(self, given) -> str:
        return wanted_images(self.image_size)

    def check_values(self, arrays, called) -> None:
        check_pixel_values(arrays["images"], called.get("images", "images"))

    def samples(self, rows, seed=0) -> dict:
        return {"images": np.random.default_rng(seed).integers(0, 256, (rows, *self.image_size, 3), "uint8")}


def check_pixel_values(images, name="images") -> None:
    """Stops where a numpy array holds no pixels; of a tensor there is nothing to see."""
    if isinstance(images, np.ndarray):
        check_pixels(images, f"the array {name!r}", beyond=BEYOND)


def check_images(shape, image_size, any_size=False) -> None:
    """Stops with a sentence unless `shape` is `(batch, height, width, 3)` of `image_size`, or of any size."""
    expected = (None if any_size else image_size[0], None if any_size else image_size[1], 3)
    if len(shape) != 4 or any(None not in (got, want) and got != want for got, want in zip(shape[1:], expected)):
        raise ValueError(f"images have shape {tuple(shape)}, but {wanted_images(image_size)}.")


def wanted_images(image_size) -> str:
    """What pictures should be, as the end of a sentence."""
    height, width = image_size
    return (
        f"this model takes (batch, {height}, {width}, 3), channels last; resize them with model.preprocessor, or open "
        "the model with another image_size"
    )


def normalize_pixels(images, mean, std) -> Tensor:
    """Pixels in [0, 255] to `(pixel / 255 - mean) / std`, float32: one multiply and one add.

    Args:
        images: uint8 or float tensor whose last axis holds whole pixels: its length is a multiple of 3.
        mean, std: per channel, in units of [0, 1] pixels.
    """
    std = np.tile(np.array(std, "float32"), images.shape[-1] // 3)
    mean = np.tile(np.array(mean, "float32"), images.shape[-1] // 3)
    scale, shift = 1.0 / (255.0 * std), -mean / std
    return ops.add(ops.multiply(ops.cast(images, "float32"), scale), shift)
