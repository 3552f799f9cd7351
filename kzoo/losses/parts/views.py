"""Several views or modalities of one batch: what the losses that read them share."""

import numpy as np
from keras import ops

from kzoo.layers.numerics import NEGATIVE, l2_normalize
from kzoo.types import Tensor


def pairs_of_views(loss, student, teacher) -> Tensor:
    """The weight of each pair of views, `[u != v] / number of such pairs`, `(teacher's views, student's views)`.

    Args:
        loss: named where something is wrong.
        student, teacher: tensors `(views, batch, ...)`, of which the first views are the same.

    Raises:
        ValueError: more views of the teacher than of the student; no pair of different views.
    """
    views = teacher.shape[0], student.shape[0]
    if None in views or views[0] > views[1] or views[1] < 2:
        raise ValueError(
            f"{type(loss).__name__} received {views[1]} views of the student and {views[0]} of the teacher; give "
            "(views, batch, dim) with at least 2 of the student, of which the teacher has the first."
        )
    different = 1.0 - np.eye(*views, dtype="float32")
    return ops.convert_to_tensor(different / different.sum())


def unit_views(loss, views) -> list:
    """The views at unit length, a list of `(batch, dim)`.

    Args:
        loss: the loss that was called with them, whose `input_counts` says how many it takes.
        views: float tensors `(batch, dim)`, all of one shape.

    Raises:
        ValueError: too few views.
    """
    loss._check_count(len(views), f"was called with {len(views)}")
    return [l2_normalize(view) for view in views]


def stacked_views(loss, views) -> Tensor:
    """`unit_views` as one tensor `(batch, views, dim)`."""
    return ops.stack(unit_views(loss, views), axis=1)


def log_sum_of_partners(views, scale) -> Tensor:
    """`log sum_{l != m} exp(scale <v_l, v_m>)` over the ordered pairs of views of each row.

    Args:
        views: float tensor `(batch, views, dim)`, of unit length.
        scale: `1 / temperature`.

    Returns:
        float32 `(batch,)`.
    """
    z = scale * ops.einsum("imd,ind->imn", views, views)
    return ops.logsumexp(ops.where(np.eye(views.shape[1], dtype="bool"), NEGATIVE, z), axis=[1, 2])
