"""Losses of language models and graphs: against loops, masks that are all false, errors."""

import math

import numpy as np
import pytest
from naive_softmax import unit
from shared_case import numpy, value_and_gradients

from kzoo.losses import BagOfWordsDecoding, MetaNodeContrastive, SimCTG

random = np.random.default_rng(0)
HIDDEN = random.normal(size=(3, 4, 5)).astype("float32")
MASK = np.array([[1, 1, 1, 1], [0, 1, 1, 0], [0, 0, 1, 0]], "bool")  # the last one has no pair
NODES = random.normal(size=(5, 4)).astype("float32")
EDGES = np.array([[0, 2, 0, 0, 0], [2, 0, 0.5, 0, 0], [0, 0.5, 3, 1, 0], [0, 0, 1, 0, 0], [0, 0, 0, 0, 0]], "float32")
CLUSTERS = np.array([0, 2, 2, 0, 3], "int32")  # nobody is in cluster 1


def value(result):
    return float(numpy(result))


def test_contrast_of_tokens_equals_a_loop_over_pairs():
    total, count = 0.0, 0.0
    weight = np.array([1.0, 3.0, 2.0], "float32")
    for h, mask, w in zip(unit(HIDDEN), MASK, weight):
        for i in np.flatnonzero(mask):
            for j in np.flatnonzero(mask):
                if i != j:
                    total += w * max(0.0, 0.9 - 1.0 + h[i] @ h[j])
                    count += w
    result = SimCTG(margin=0.9)(HIDDEN, mask=MASK, sample_weight=weight)
    assert value(result) == pytest.approx(total / count, rel=1e-5)
    masked = np.where(MASK[:, :, None], HIDDEN, 7.0).astype("float32")
    assert value(SimCTG(0.9)(masked, mask=MASK)) == pytest.approx(value(SimCTG(0.9)(HIDDEN, mask=MASK)), rel=1e-6)


def test_contrast_of_tokens_at_its_ends():
    assert value(SimCTG(0.0)(HIDDEN)) == pytest.approx(0.0, abs=1e-6)
    assert value(SimCTG(0.5)(np.ones_like(HIDDEN))) == pytest.approx(0.5, rel=1e-5)


@pytest.mark.parametrize("hidden, mask", [(HIDDEN, 0 * MASK), (HIDDEN[:, :1], MASK[:, :1])], ids=["none", "one"])
def test_texts_without_a_pair_of_tokens_cost_nothing(hidden, mask):
    result, (gradient,) = value_and_gradients(lambda h: SimCTG()(h, mask=mask), [hidden])
    assert result == 0.0 and np.isfinite(gradient).all()


def test_words_are_read_from_the_real_tokens():
    bag = np.array([[0.5, 0.5, 0, 0, 0], [0, 0, 1, 0, 0], [1, 0, 0, 0, 0]], "float32")
    values = []
    for z, mask, words in zip(HIDDEN, MASK, bag):
        v = z[mask].max(axis=0)
        values.append(sum(w * (math.log(np.exp(v).sum()) - each) for w, each in zip(words, v)))
    weight = np.array([1.0, 3.0, 2.0], "float32")
    loss = BagOfWordsDecoding()
    assert value(loss(HIDDEN, bag, mask=MASK)) == pytest.approx(np.mean(values), rel=1e-5)
    weighted = loss(HIDDEN, bag, mask=MASK, sample_weight=weight)
    assert value(weighted) == pytest.approx(np.average(values, weights=weight), rel=1e-5)


def test_texts_without_tokens_or_words_do_not_count():
    bag = np.array([[0.5, 0.5, 0, 0, 0], [0, 0, 1, 0, 0], [0, 0, 0, 0, 0]], "float32")
    mask = MASK.copy()
    mask[1] = False
    result, gradients = value_and_gradients(lambda z: BagOfWordsDecoding()(z, bag, mask=mask), [HIDDEN])
    assert result == pytest.approx(value(BagOfWordsDecoding()(HIDDEN[:1], bag[:1])), rel=1e-5)
    assert gradients[0][0].any() and not gradients[0][1:].any()
    nothing, (gradient,) = value_and_gradients(lambda z: BagOfWordsDecoding()(z, bag, mask=0 * MASK), [HIDDEN])
    assert nothing == 0.0 and np.isfinite(gradient).all()


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
        (lambda: SimCTG(margin=3.0), r"margin is 3.0; give a number in \[0, 2\]"),
        (lambda: MetaNodeContrastive(tau=0.0), "tau is 0.0; give a positive number"),
        (lambda: MetaNodeContrastive(num_clusters=0), "num_clusters is 0; give a positive number"),
    ],
)
def test_bad_arguments(make, sentence):
    with pytest.raises(ValueError, match=sentence):
        make()
