"""GroupInfoNCE: rows that are compared, and what it needs."""

from functools import partial

import numpy as np
import pytest
from naive_softmax import embeddings, row_losses, value_of
from shared_case import value_and_gradients

from kzoo.losses import GroupInfoNCE, InfoNCE

T = 0.3
A, B = embeddings(6, 8)  # the shapes of the golden cases: JAX compiles each operation anew for others
EYE = np.eye(6, dtype="float32")
WEIGHT = np.array([0.0, 1.0, 2.0, 0.5, 1.0, 3.0], "float32")


def both(rows, columns):
    return np.average((rows + columns) / 2, weights=WEIGHT)


@pytest.mark.parametrize("block_size", [None, 4])
def test_groups_are_compared_among_themselves(block_size):
    groups = np.array([5, 2, 5, 5, 1, 1], "int32")
    keep = groups[:, None] == groups
    loss = GroupInfoNCE(T, block_size)
    want = both(row_losses(A, B, T, EYE, keep), row_losses(B, A, T, EYE, keep))
    assert value_of(loss, A, B, groups=groups, sample_weight=WEIGHT) == pytest.approx(want, rel=1e-5)
    assert value_of(loss, A, B, groups=np.arange(6, dtype="int32")) == pytest.approx(0.0, abs=1e-6)
    alike = value_of(loss, A, B, groups=np.full(6, 9, "int32"))
    assert alike == pytest.approx(value_of(InfoNCE(T), A, B), rel=1e-6)


@pytest.mark.filterwarnings("ignore:InfoNCE received a batch of one")
def test_a_batch_of_one():
    value, gradients = value_and_gradients(partial(GroupInfoNCE(T), groups=np.zeros(1, "int32")), [A[:1], B[:1]])
    assert value == pytest.approx(0.0, abs=1e-6)
    assert all(np.abs(gradient).max() < 1e-5 for gradient in gradients)


def test_bad_arguments():
    with pytest.raises(ValueError, match="give a positive number"):
        GroupInfoNCE(temperature=0.0)


def test_what_it_cannot_do_without_is_asked_for():
    with pytest.raises(ValueError, match="reads 'groups', but the model and the batch give only"):
        GroupInfoNCE().from_tensors({"image_embeddings": A, "text_embeddings": B})
