"""The one rule of pixels: numbers in [0, 255], wherever pictures are handed over as arrays. Needs only numpy."""

import numpy as np

WANTED = "pixels lie in [0, 255]"
NORMALISED = 16.0  # no deviation of a family is so small that normalised pixels, negative ones among them, get there


def check_pixels(array, name="an image array", beyond=0.0) -> None:
    """Stops unless the numbers of a picture, or of a batch of them, can be pixels.

    Zeros and ones alone, whole or not, are a mask or pictures that were scaled to [0, 1], and would be black on black;
    a picture of zeros is black.

    Args:
        array: numpy array of any shape.
        name: what the sentence calls it.
        beyond: how far some may lie outside, as what sharpens, resizes or adds noise without clipping leaves them.

    Raises:
        ValueError: the range that came, and what to do.

    Example:
        >>> check_pixels(np.ones((2, 2, 3)))
        ValueError: an image array holds values from 1 to 1, but pixels lie in [0, 255]; multiply by 255.
    """
    if array.dtype == bool:
        raise ValueError(f"{name} holds booleans, but {WANTED}; multiply by 255.")
    if array.dtype.kind not in "iuf" and array.dtype.name != "bfloat16":
        raise ValueError(f"{name} is of dtype {array.dtype}, but {WANTED}; give uint8.")
    if not array.size or (array.dtype == np.uint8 and np.any(array[:1] > 1)):  # one look is enough for most bytes
        return
    low, high = float(array.min()), float(array.max())
    if low >= 0.0 and high <= 255.0 + beyond and (high > 1.0 or high == 0.0):
        return
    if 0.0 > low >= -beyond and NORMALISED < high <= 255.0 + beyond:
        return
    if np.isnan(low):
        raise ValueError(f"{name} holds NaN, but {WANTED}; leave out pictures that could not be read.")
    if low < 0.0:
        advice = "undo the normalisation, which is the tower's own work"
        advice = f"for [-1, 1] take (x + 1) * 127.5, else {advice}" if high <= 1.0 and low >= -1.0 else advice
    else:
        advice = "multiply by 255" if high <= 1.0 else "scale by the largest value that there can be"
    raise ValueError(f"{name} holds values from {low:g} to {high:g}, but {WANTED}; {advice}.")
