"""Classifiers that are not trained: how their vectors lie, and cross-entropies over them."""

import math

import numpy as np
import pytest
from naive_softmax import unit, value_of
from shared_case import numpy

from kzoo.losses import EquiangularBasisVectors, LearnableTemperature, SimplexClassifier
from kzoo.losses.labels.equiangular_basis_vectors import find_equiangular_basis

LABELS = np.array([0, 1, 1, 2, 0])
WEIGHT = np.array([1.0, 0.0, 2.0, 0.5, 1.0], "float32")


def embeddings(rows=5, dim=4, seed=0):
    return np.random.default_rng(seed).normal(size=(rows, dim)).astype("float32")


def cross_entropies(logits, labels, smoothing=0.0):
    """Of each row, in a loop over the classes."""
    rows = []
    for z, y in zip(logits.astype("float64"), labels):
        log_p = z - math.log(np.exp(z).sum())
        target = [(1 - smoothing) * (c == y) + smoothing / len(z) for c in range(len(z))]
        rows.append(-sum(t * v for t, v in zip(target, log_p)))
    return rows


def largest_cosine(basis):
    return np.abs(basis @ basis.T - np.eye(len(basis))).max()


@pytest.mark.parametrize("count, dim, threshold", [(3, 4, 0.0), (4, 4, 0.0), (30, 15, None), (30, 15, 0.25)])
def test_the_basis_is_found_below_its_threshold(count, dim, threshold):
    basis = find_equiangular_basis(count, dim, threshold)
    assert basis.dtype == np.float32 and basis.shape == (count, dim)
    np.testing.assert_allclose(np.linalg.norm(basis, axis=1), 1.0, rtol=1e-5)
    limit = 2.0 * math.sqrt((count - dim) / (dim * (count - 1))) if threshold is None else threshold
    assert largest_cosine(basis) <= limit + 1.1e-4
    np.testing.assert_array_equal(basis, find_equiangular_basis(count, dim, threshold))


def test_a_threshold_that_no_basis_has_or_that_is_not_reached():
    with pytest.raises(ValueError, match="of 6 vectors of length 3 two have a cosine of at least 0.4472"):
        find_equiangular_basis(6, 3, 0.4)
    with pytest.raises(ValueError, match="after 2000 steps the largest cosine of 5 vectors of length 2 is"):
        find_equiangular_basis(5, 2, 0.7)


@pytest.mark.parametrize("block_size", [None, 2])
def test_classes_are_those_of_the_basis(block_size):
    x = embeddings()
    loss = EquiangularBasisVectors(6, 4, LearnableTemperature(0.2), 0.3, block_size=block_size)
    basis = numpy(loss.basis)
    assert largest_cosine(basis) <= 2.0 * math.sqrt(2 / 20) + 1.1e-4 and not loss.basis.trainable
    rows = cross_entropies(unit(x) @ basis.T / 0.2, LABELS, 0.3)
    got = value_of(loss, x, labels=LABELS, sample_weight=WEIGHT)
    assert got == pytest.approx(np.average(rows, weights=WEIGHT), rel=1e-5)
    assert loss.pairs(7) == (7, 6) and loss.negatives(7) == 5


@pytest.mark.parametrize("count", [2, 3, 5])
def test_corners_are_equally_far_from_each_other(count):
    corners = numpy(SimplexClassifier(count).corners)
    cosines = corners @ corners.T
    np.testing.assert_allclose(cosines, (count * np.eye(count) - 1) / (count - 1), atol=1e-6)


@pytest.mark.parametrize("block_size", [None, 2])
def test_simplex_reads_features_as_they_are(block_size):
    x, loss = embeddings(dim=3), SimplexClassifier(4, scale=2.0, block_size=block_size)
    rows = cross_entropies(2.0 * x @ numpy(loss.corners).T, LABELS)
    got = value_of(loss, x, labels=LABELS, sample_weight=WEIGHT)
    assert got == pytest.approx(np.average(rows, weights=WEIGHT), rel=1e-5)


@pytest.mark.parametrize(
    "make, sentence",
    [
        (
            lambda: EquiangularBasisVectors(4, 8, label_smoothing=1.0),
            "label_smoothing is 1.0; give a number",
        ),
        (lambda: SimplexClassifier(1), "num_classes is 1; give a whole number of at least 2"),
        (
            lambda: SimplexClassifier(4)(np.ones((2, 4)), labels=np.zeros(2)),
            "features have 4 dimensions, but",
        ),
    ],
)
def test_bad_arguments(make, sentence):
    with pytest.raises(ValueError, match=sentence):
        make()
