"""SelfSoftTargetContrastive with and without the gradient of its targets."""

from functools import partial

import numpy as np
import pytest
from naive_softmax import embeddings, row_losses, unit
from shared_case import value_and_gradients

from kzoo.losses import SelfSoftTargetContrastive

T = 0.3
A, B = embeddings(6, 8)  # the shapes of the golden cases: JAX compiles each operation anew for others
WEIGHT = np.array([0.0, 1.0, 2.0, 0.5, 1.0, 3.0], "float32")


def both(rows, columns):
    return np.average((rows + columns) / 2, weights=WEIGHT)


def soft_targets(b):
    z = unit(b) @ unit(b).T / T
    return np.exp(z) / np.exp(z).sum(axis=1, keepdims=True)


@pytest.mark.parametrize("block_size", [None, 4])
def test_self_soft_targets_with_and_without_their_gradient(block_size):
    want = both(row_losses(A, B, T, soft_targets(B)), row_losses(B, A, T, soft_targets(B)))
    gradients = {}
    for detach in (False, True):
        loss = SelfSoftTargetContrastive(T, detach, block_size)
        value, gradients[detach] = value_and_gradients(partial(loss, sample_weight=WEIGHT), [A, B])
        assert value == pytest.approx(want, rel=1e-5)
    np.testing.assert_allclose(gradients[True][0], gradients[False][0], rtol=1e-4, atol=1e-6)

    def numeric(targets_move):
        """The derivative for b[1, 2]."""
        values = []
        for step in (1e-5, -1e-5):
            b = B.astype("float64")
            b[1, 2] += step
            targets = soft_targets(b if targets_move else B)
            values.append(both(row_losses(A, b, T, targets), row_losses(b, A, T, targets)))
        return (values[0] - values[1]) / 2e-5

    for detach in (False, True):
        assert gradients[detach][1][1, 2] == pytest.approx(numeric(not detach), rel=1e-3)
    assert abs(numeric(True) - numeric(False)) > 0.001


@pytest.mark.filterwarnings("ignore:InfoNCE received a batch of one")
def test_a_batch_of_one():
    value, gradients = value_and_gradients(SelfSoftTargetContrastive(T), [A[:1], B[:1]])
    assert value == pytest.approx(0.0, abs=1e-6)
    assert all(np.abs(gradient).max() < 1e-5 for gradient in gradients)


def test_bad_arguments():
    with pytest.raises(ValueError, match="give a positive number"):
        SelfSoftTargetContrastive(temperature=0.0)
