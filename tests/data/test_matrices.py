"""Numbers of the pairs of a batch, and the clusters that some are made of."""

import sys

import numpy as np
import pytest

from kzoo.data import Edges, Likeness, Lookup, Separations, clusterings

RANDOM = np.random.default_rng(0)
ROWS = np.array([4, 0, 3])


def loop(function):
    return np.array([[function(i, j) for j in ROWS] for i in ROWS], "float32")


def test_lookup():
    matrix = RANDOM.normal(size=(5, 5))
    np.testing.assert_allclose(Lookup(matrix)(ROWS), loop(lambda i, j: matrix[i, j]))


def test_separations_count_the_runs_that_tell_rows_apart():
    runs = RANDOM.integers(0, 2, (6, 5))
    found = Separations(runs)(ROWS)
    assert np.array_equal(found, loop(lambda i, j: sum(run[i] != run[j] for run in runs))) and found.dtype == "float32"
    assert not np.diagonal(found).any() and np.array_equal(Separations(runs[0])(ROWS), Separations(runs[:1])(ROWS))


def test_likeness_is_half_of_one_and_the_cosine():
    features = RANDOM.normal(size=(5, 3))
    unit = features / np.linalg.norm(features, axis=1, keepdims=True)
    np.testing.assert_allclose(Likeness(features)(ROWS), loop(lambda i, j: (1 + unit[i] @ unit[j]) / 2), atol=1e-6)


def test_edges_go_both_ways():
    edges, weights = np.array([[0, 3], [1, 2], [4, 4], [3, 0]]), [1.0, 2.0, 3.0, 4.0]
    dense = np.zeros((5, 5))
    for (i, j), weight in zip(edges, weights):
        dense[i, j] = dense[j, i] = weight
    assert np.array_equal(Edges(edges, 5, weights)(ROWS), loop(lambda i, j: dense[i, j]))
    assert np.array_equal(Edges(edges, 5)(ROWS), loop(lambda i, j: float(dense[i, j] > 0)))
    assert not Edges(np.zeros((0, 2), int), 5)(ROWS).any()


def test_clusterings_differ_by_their_start():
    features = np.concatenate([RANDOM.normal(centre, 0.1, (20, 2)) for centre in (0.0, 5.0)])
    found = clusterings(features, 2, runs=3, seed=1)
    assert found.shape == (3, 40) and found.dtype == "int32"
    for run in found:
        assert len(set(run[:20])) == len(set(run[20:])) == 1 and run[0] != run[-1]
    assert np.array_equal(found, clusterings(features, 2, runs=3, seed=1))
    fine = clusterings(RANDOM.normal(size=(60, 2)), [2, 9])
    assert [len(set(run)) for run in fine] == [2, 9]


def test_clusters_need_scikit_learn(monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn.cluster", None)
    with pytest.raises(ImportError, match=r"Clustering rows needs sklearn, .* 'kzoo\[clusters\]'"):
        clusterings(np.zeros((4, 2)), 2)


@pytest.mark.parametrize(
    "make, sentence",
    [
        (lambda: Lookup(np.zeros((2, 3))), r"the matrix is float64 of shape \(2, 3\)"),
        (lambda: Lookup([["a"]]), "the matrix is <U1"),
        (lambda: Separations(np.zeros((2, 3))), "assignments are float64"),
        (lambda: Likeness(np.zeros(3)), r"features have shape \(3,\)"),
        (lambda: Edges([[0, 1, 2]], 3), r"edges are int64 of shape \(1, 3\)"),
        (lambda: Edges([[0, 3]], 3), "edges name rows from 0 to 3, but there are 3 rows"),
        (lambda: Edges([[0, 1]], 3, [1.0, 2.0]), r"there are 1 edges but weights of shape \(2,\)"),
        (lambda: clusterings(np.zeros((2, 2)), 3), "cannot be put into 3 clusters in 1 runs"),
    ],
)
def test_bad_matrices(make, sentence):
    with pytest.raises(ValueError, match=sentence):
        make()
