"""What a data set puts into a batch beside pictures and texts: masks, numbers of rows, matrices."""

import numpy as np

from kzoo.data.matrices import check_matrices


def named_masks(masks, kinds, example) -> dict:
    """Masks by the name of what they hide.

    Args:
        masks: a dict of names and masks, or None.
        kinds: name of what may be hidden -> class of its masks.
        example: of masks, for the message.

    Returns:
        dict.

    Raises:
        TypeError: something else than a mask.
        ValueError: a name that there is not.
    """
    masks = {} if masks is None else masks
    if not isinstance(masks, dict):
        raise TypeError(f"masks are {masks!r}; give one such as {example}, or a dict of {', '.join(kinds)}.")
    for name, mask in masks.items():
        if name not in kinds:
            raise ValueError(f"masks name {name!r}, but only {', '.join(kinds)} can be masked.")
        if not isinstance(mask, kinds[name]):
            raise TypeError(f"the mask of {name!r} is {mask!r}; give one such as {example}.")
    return masks


class RowEntries:
    """Numbers of the rows of a batch, and matrices of their pairs.

    Args:
        count: rows of the set.
        ids: whether a batch holds `ids`.
        matrices: dict of a name and an object such as `kzoo.data.Separations`, or None.
        taken: names of other entries.

    Raises:
        ValueError: a matrix for another number of rows, a name that is taken.
    """

    def __init__(self, count, ids, matrices, taken):
        self.ids, self.matrices = ids, matrices or {}
        check_matrices(self.matrices, count)
        twice = {*self.matrices, *(["ids"] if ids else [])} & set(taken)
        if twice:
            raise ValueError(f"the source has {sorted(twice)[0]!r} of its own; leave it out there, or here.")

    def __call__(self, rows) -> dict:
        """dict: `ids` int32 `(batch,)`, and matrices `(batch, batch)`, for the numbers of the rows."""
        entries = {"ids": np.asarray(rows, "int32")} if self.ids else {}
        return entries | {name: matrix(rows) for name, matrix in self.matrices.items()}
