"""Numbers of files that can be weights: finite, and within the range of what computes with them."""

import numpy as np


def check_finite(array, place) -> None:
    """Stops at NaN and infinities, and at numbers beyond float32, in an array of floats; other arrays are as they are.

    A sum of squares is enough where all is well: it is the fastest reading of memory that there is, half the time of a
    plain sum, and less than 3 % of the time in which a model is filled.

    Args:
        array: numpy array.
        place: what to call it in the sentence, such as `"logit_scale in model.safetensors"`.

    Raises:
        ValueError: the first such value and how many there are.
    """
    if array.dtype.kind not in "fV" or array.dtype.names:
        return
    with np.errstate(over="ignore", invalid="ignore"):
        flat = array.reshape(-1)
        if array.dtype.itemsize <= 4 and np.isfinite(np.dot(flat, flat)):  # large numbers are looked at one by one
            return
        wrong = ~np.isfinite(array.astype("float32"))
    if wrong.any():
        first = tuple(int(each) for each in np.argwhere(wrong)[0])
        count = int(np.count_nonzero(wrong))
        at = f" at {list(first)}" if first else ""
        raise ValueError(
            f"{place} holds {array[first]!s}{at}, and {count:,} of its {array.size:,} numbers are none that a weight "
            "can be, as in a damaged file or of a training that diverged."
        )
