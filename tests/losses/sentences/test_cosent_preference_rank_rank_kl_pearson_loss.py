"""Losses of pairs with scores: against loops, what they do not depend on, ties, lists without any order."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from shared_case import numpy, value_and_gradients

from kzoo.losses import CoSENT, PearsonLoss, PreferenceRank, RankKL

SCORES = np.array([0.5, 0.1, 0.9, 0.5, 0.1, 0.3], "float32")
OF_ORDER = (CoSENT(), RankKL())  # the values of scores do not count
ALL = (*OF_ORDER, PearsonLoss(), PreferenceRank())


def embeddings(rows=6, seed=0):
    return np.random.default_rng(seed).normal(size=(2, rows, 4)).astype("float32")


def value(result):
    return float(numpy(result))


def cosines(a, b):
    return [float(x @ y / np.sqrt((x @ x) * (y @ y))) for x, y in zip(a, b)]


def test_cosent_equals_a_double_loop():
    a, b = embeddings()
    p = cosines(a, b)
    total = sum(math.exp(20.0 * (p[i] - p[j])) for i in range(6) for j in range(6) if SCORES[i] < SCORES[j])
    for block_size in (None, 4):
        result = CoSENT(block_size=block_size)(a, b, scores=SCORES)
        assert value(result) == pytest.approx(math.log(1.0 + total), rel=1e-5)


def test_preference_rank_equals_a_double_loop():
    a, b = embeddings()
    p, values, weights = cosines(a, b), [], []
    given_weight = np.array([1.0, 5.0, 0.0, 2.0, 3.0, 0.5], "float32")
    for k in range(6):
        below = [j for j in range(6) if SCORES[j] < SCORES[k]]
        if below:
            w = [float(SCORES[k] - SCORES[j]) for j in below]
            z = [p[k] * max(w) / 0.1, *(p[j] * each / 0.1 for j, each in zip(below, w))]
            values.append(math.log(sum(map(math.exp, z))) - z[0])
            weights.append(given_weight[k])
    loss = PreferenceRank(0.1)
    assert value(loss(a, b, scores=SCORES)) == pytest.approx(np.mean(values), rel=1e-5)
    weighted = loss(a, b, scores=SCORES, sample_weight=given_weight)
    assert value(weighted) == pytest.approx(np.average(values, weights=weights), rel=1e-5)


def test_rank_kl_shares_the_rank_of_ties():
    a, b = embeddings()
    ranks = np.array([1.5, 4.5, 0.0, 1.5, 4.5, 3.0])  # of SCORES, 0 the highest
    z = (5 - ranks) / 5 / 0.5
    target = np.exp(z) / np.exp(z).sum()
    p = np.array(cosines(a, b)) / 0.5
    expected = np.sum(target * (np.log(target) - p + np.log(np.exp(p).sum())))
    assert value(RankKL(0.5)(a, b, scores=SCORES)) == pytest.approx(expected, rel=1e-4)


def test_pearson_weighs_pairs_like_repeated_ones():
    a, b = embeddings()
    expected = 1.0 - np.corrcoef(cosines(a, b), SCORES)[0, 1]
    assert value(PearsonLoss()(a, b, scores=SCORES)) == pytest.approx(expected, rel=1e-5)
    count = np.array([1, 2, 0, 1, 3, 1])
    repeated = np.repeat(np.arange(6), count)
    weighted = PearsonLoss()(a, b, scores=SCORES, sample_weight=count.astype("float32"))
    expected = 1.0 - np.corrcoef(np.array(cosines(a, b))[repeated], SCORES[repeated])[0, 1]
    assert value(weighted) == pytest.approx(expected, rel=1e-5)


@settings(max_examples=5, deadline=None)
@given(seed=st.integers(0, 1000))
def test_invariants(seed):
    a, b = embeddings(seed=seed)
    order = np.random.default_rng(seed).permutation(6)
    for loss in ALL:
        expected = pytest.approx(value(loss(a, b, scores=SCORES)), rel=1e-4, abs=1e-5)
        assert value(loss(a[order], b[order], scores=SCORES[order])) == expected
        assert value(loss(b, 3.0 * a, scores=SCORES)) == expected
        if loss in OF_ORDER:
            assert value(loss(a, b, scores=SCORES**3)) == expected
        if isinstance(loss, PearsonLoss):
            assert value(loss(a, b, scores=1e4 * SCORES - 7.0)) == pytest.approx(expected.expected, rel=1e-3)


LISTS = {
    "equal scores": (*embeddings(), np.ones(6, "float32")),
    "equal pairs": (np.ones((6, 4), "float32"), np.ones((6, 4), "float32"), SCORES),
    "one pair": (*embeddings(1), SCORES[:1]),
    "two pairs": (*embeddings(2), SCORES[:2]),
}


@pytest.mark.parametrize("which", LISTS)
@pytest.mark.parametrize("loss", ALL, ids=lambda loss: loss.term)
def test_lists_without_order_are_finite(loss, which):
    a, b, scores = LISTS[which]
    result, gradients = value_and_gradients(lambda x, y: loss(x, y, scores=scores), [a, b])
    assert np.isfinite(result) and all(np.isfinite(gradient).all() for gradient in gradients)
    if which == "one pair" or (which == "equal scores" and not isinstance(loss, RankKL)):
        assert result == pytest.approx(0.0, abs=1e-6)


def test_cosent_of_equal_cosines_counts_the_ordered_pairs():
    a = np.ones((6, 4), "float32")
    assert value(CoSENT()(a, a, scores=SCORES)) == pytest.approx(math.log(1 + 13), rel=1e-5)


@pytest.mark.parametrize(
    "make, sentence",
    [
        (lambda: CoSENT(scale=-1.0), "scale is -1.0; give a positive number"),
        (lambda: RankKL(temperature=0.0), "temperature is 0.0; give a positive number"),
        (lambda: CoSENT().from_tensors({"image_embeddings": 0, "text_embeddings": 0}), r"CoSENT\(scores=...\)"),
    ],
)
def test_bad_arguments(make, sentence):
    with pytest.raises(ValueError, match=sentence):
        make()


def test_a_loss_of_the_whole_list_takes_no_weights():
    with pytest.raises(TypeError, match="CoSENT does not know the argument 'sample_weight'"):
        CoSENT(sample_weight="weight")
