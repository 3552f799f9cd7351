"""UnifiedContrastive: labels of one side and of both, all positive and none."""

import math
from functools import partial

import numpy as np
import pytest
from naive_softmax import embeddings, row_losses, value_of
from shared_case import value_and_gradients

from kzoo.losses import InfoNCE, UnifiedContrastive

T = 0.3
A, B = embeddings(6, 8)  # the shapes of the golden cases: JAX compiles each operation anew for others
WEIGHT = np.array([0.0, 1.0, 2.0, 0.5, 1.0, 3.0], "float32")


def both(rows, columns):
    return np.average((rows + columns) / 2, weights=WEIGHT)


def shares(match):
    """Each row divided by its sum, rows of zeros as they are."""
    return match / np.maximum(match.sum(axis=1, keepdims=True), 1.0)


@pytest.mark.parametrize("block_size", [None, 4])
def test_unified_with_labels_of_both_sides(block_size):
    labels, b_labels = (
        np.array([3, 7, 3, 9, 1, 1], "int32"),
        np.array([3, 3, 7, 5, 1, 3], "int32"),
    )  # nobody for the 9 nor the 5
    match = (labels[:, None] == b_labels[None, :]).astype(float)
    want = both(row_losses(A, B, T, shares(match)), row_losses(B, A, T, shares(match.T)))
    loss = UnifiedContrastive(T, block_size=block_size)
    assert value_of(loss, A, B, labels=labels, b_labels=b_labels, sample_weight=WEIGHT) == pytest.approx(want, rel=1e-5)


@pytest.mark.parametrize("direction", ["a_to_b", "b_to_a"])
def test_unified_in_one_direction(direction):
    labels = np.array([0, 1, 0, 0, 2, 1], "int32")
    x, y = (A, B) if direction == "a_to_b" else (B, A)
    want = row_losses(x, y, T, shares((labels[:, None] == labels).astype(float))).mean()
    assert value_of(UnifiedContrastive(T, direction), A, B, labels=labels) == pytest.approx(want, rel=1e-5)


def test_unified_reads_labels_as_names():
    loss = UnifiedContrastive(T)
    value = value_of(loss, A, B, labels=np.array([0, 1, 0, 2, 2, 2], "int32"))
    assert value_of(loss, A, B, labels=np.array([900, -5, 900, 7, 7, 7], "int32")) == pytest.approx(value, rel=1e-6)
    assert value_of(loss, A, B, labels=np.arange(6, dtype="int32")) == pytest.approx(
        value_of(InfoNCE(T), A, B), rel=1e-6
    )


def test_unified_where_all_are_positive_or_none_is():
    same = np.ones((6, 8), "float32")
    loss = UnifiedContrastive(T)
    assert value_of(loss, same, same, labels=np.zeros(6, "int32")) == pytest.approx(math.log(6), rel=1e-6)
    labels = {"labels": np.zeros(6, "int32"), "b_labels": np.ones(6, "int32")}
    value, gradients = value_and_gradients(partial(loss, **labels), [A, B])
    assert value == 0.0 and not any(gradient.any() for gradient in gradients)


@pytest.mark.filterwarnings("ignore:InfoNCE received a batch of one")
def test_a_batch_of_one():
    value, gradients = value_and_gradients(partial(UnifiedContrastive(T), labels=np.zeros(1, "int32")), [A[:1], B[:1]])
    assert value == pytest.approx(0.0, abs=1e-6)
    assert all(np.abs(gradient).max() < 1e-5 for gradient in gradients)


def test_temperatures_of_the_models_head():
    labels = np.array([0, 1, 0, 2, 2, 2], "int32")
    want = value_of(UnifiedContrastive(0.25), A, B, labels=labels)
    assert value_of(UnifiedContrastive(), A, B, scale=np.float32(4.0), labels=labels) == pytest.approx(want, rel=1e-6)
    assert value_of(UnifiedContrastive(), A, B, labels=labels) == pytest.approx(
        value_of(UnifiedContrastive(0.07), A, B, labels=labels), rel=1e-6
    )


def test_bad_arguments():
    with pytest.raises(ValueError, match="direction 'up' is unknown"):
        UnifiedContrastive(direction="up")
    with pytest.raises(ValueError, match="give a positive number"):
        UnifiedContrastive(temperature=0.0)


def test_what_it_cannot_do_without_is_asked_for():
    with pytest.raises(ValueError, match="reads 'labels', but the model and the batch give only"):
        UnifiedContrastive().from_tensors({"image_embeddings": A, "text_embeddings": B})
