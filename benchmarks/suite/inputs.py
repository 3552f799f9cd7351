"""What all engines of a case are given: the same pictures and ids, by chance from one seed."""

import numpy as np


def pixels(case) -> np.ndarray:
    """Pictures, uint8 `(batch, height, width, 3)`: what kzoo reads."""
    side = case.numbers.image_size
    return np.random.default_rng(0).integers(0, 256, (case.batch, side, side, 3), dtype="uint8")


def scaled(case, channels_first) -> np.ndarray:
    """The same as float32 around zero, which the other libraries read; the scaling is not counted for them.

    Args:
        channels_first: whether in the order of torch.
    """
    values = pixels(case).astype("float32") / 127.5 - 1.0
    return np.ascontiguousarray(values.transpose(0, 3, 1, 2)) if channels_first else values


def token_ids(case) -> np.ndarray:
    """Texts, int32 `(batch, length)`, each as long as a text may be."""
    size = case.numbers
    ids = np.random.default_rng(1).integers(3, size.start_id, (case.batch, size.length), dtype="int32")
    ids[:, 0], ids[:, -1] = size.start_id, size.end_id
    return ids
