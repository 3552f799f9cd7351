"""MetaNodeContrastive against a loop, and without edges."""

import math

import numpy as np
import pytest
from naive_softmax import unit
from shared_case import numpy, value_and_gradients

from kzoo.losses import MetaNodeContrastive

random = np.random.default_rng(0)
NODES = random.normal(size=(5, 4)).astype("float32")
EDGES = np.array([[0, 2, 0, 0, 0], [2, 0, 0.5, 0, 0], [0, 0.5, 3, 1, 0], [0, 0, 1, 0, 0], [0, 0, 0, 0, 0]], "float32")
CLUSTERS = np.array([0, 2, 2, 0, 3], "int32")  # nobody is in cluster 1


def value(result):
    return float(numpy(result))


def naive_graph(x, edges, clusters, number, tau, weight):
    unit_x = unit(x)
    meta = np.stack([x[clusters == c].sum(axis=0) for c in range(number)])
    meta = np.stack([m / max(np.linalg.norm(m), 1e-6) for m in meta])
    pull, counted = 0.0, 0.0
    for i in range(len(x)):
        terms = [edges[i, j] * math.exp(tau * unit_x[i] @ unit_x[j] * (i != j)) for j in range(len(x))]
        if sum(terms) > 0.0:
            pull += weight[i] * math.log(sum(terms))
            counted += weight[i]
    push = [math.log(sum(math.exp(tau * meta[c] @ meta[d] * (c != d)) for d in range(number))) for c in range(number)]
    return np.mean(push) - pull / counted


def test_meta_nodes_equal_a_loop():
    weight = np.array([1.0, 3.0, 0.0, 0.5, 2.0], "float32")
    given = {"adjacency": EDGES, "assignments": CLUSTERS}
    for block_size in (None, 3):
        loss = MetaNodeContrastive(tau=2.0, num_clusters=4, block_size=block_size)
        expected = naive_graph(NODES, EDGES, CLUSTERS, 4, 2.0, np.ones(5))
        assert value(loss(NODES, **given)) == pytest.approx(expected, rel=1e-5)
        expected = naive_graph(NODES, EDGES, CLUSTERS, 4, 2.0, weight)
        assert value(loss(NODES, **given, sample_weight=weight)) == pytest.approx(expected, rel=1e-5)
    assert MetaNodeContrastive(num_clusters=4).negatives(100) == 3


def test_a_graph_without_edges_leaves_the_clusters():
    def loss(x):
        return MetaNodeContrastive(num_clusters=4)(x, adjacency=0.0 * EDGES, assignments=CLUSTERS)

    result, (gradient,) = value_and_gradients(loss, [NODES])
    assert np.isfinite(result) and np.isfinite(gradient).all() and gradient.any()


@pytest.mark.parametrize(
    "make, sentence",
    [
        (lambda: MetaNodeContrastive(tau=0.0), "tau is 0.0; give a positive number"),
        (lambda: MetaNodeContrastive(num_clusters=0), "num_clusters is 0; give a whole number of at least 1"),
    ],
)
def test_bad_arguments(make, sentence):
    with pytest.raises(ValueError, match=sentence):
        make()
