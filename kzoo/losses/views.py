"""Several embeddings of one thing: what the losses of any number of views or modalities share."""

import numpy as np
from keras import ops

from kzoo.layers.numerics import NEGATIVE, l2_normalize


def unit_views(loss, views):
    """The views at unit length, a list of `(batch, dim)`.

    Args:
        loss: the loss that was called with them, whose `input_counts` says how many it takes.
        views: float tensors `(batch, dim)`, all of one shape.

    Raises:
        ValueError: too few views, or shapes that differ.
    """
    loss._check_count(len(views), f"was called with {len(views)}")
    shapes = [tuple(view.shape) for view in views]
    if any(len(shape) != 2 for shape in shapes) or any(len(set(known) - {None}) > 1 for known in zip(*shapes)):
        raise ValueError(
            f"{type(loss).__name__} compares embeddings of one shape (batch, dim), but got "
            f"{', '.join(map(str, shapes))}; project them to one size."
        )
    return [l2_normalize(view) for view in views]


def stacked_views(loss, views):
    """`unit_views` as one tensor `(batch, views, dim)`."""
    return ops.stack(unit_views(loss, views), axis=1)


def log_sum_of_partners(views, scale):
    """`log sum_{l != m} exp(scale <v_l, v_m>)` over the ordered pairs of views of each row.

    Args:
        views: float tensor `(batch, views, dim)`, of unit length.
        scale: `1 / temperature`.

    Returns:
        float32 `(batch,)`.
    """
    z = scale * ops.einsum("imd,ind->imn", views, views)
    return ops.logsumexp(ops.where(np.eye(views.shape[1], dtype="bool"), NEGATIVE, z), axis=[1, 2])
