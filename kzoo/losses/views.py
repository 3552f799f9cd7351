"""Several views of one batch: what the losses of student and teacher share."""

import numpy as np
from keras import ops


def pairs_of_views(loss, student, teacher):
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
