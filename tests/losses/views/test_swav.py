"""SwAV: codes that balance, crops that give none, its queue and its prototypes."""

import math

import numpy as np
import pytest
from naive_softmax import unit
from shared_case import numpy

from kzoo.losses import LearnableTemperature, SwAV
from kzoo.losses.views.swav import sinkhorn


def arrays(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype("float32")


def softmax(x):
    e = np.exp(x - x.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


def naive_sinkhorn(scores, epsilon, iterations):
    q = np.exp(scores.astype("float64") / epsilon).T
    q /= q.sum()
    for _ in range(iterations):
        q /= q.sum(axis=1, keepdims=True) * q.shape[0]
        q /= q.sum(axis=0, keepdims=True) * q.shape[1]
    return (q * q.shape[1]).T


def test_sinkhorn_balances_prototypes():
    scores = arrays(6, 3) / 3.0
    codes = numpy(sinkhorn(scores, 0.5, 50))
    np.testing.assert_allclose(codes.sum(axis=0), 2.0, rtol=1e-5)
    np.testing.assert_allclose(codes.sum(axis=1), 1.0, rtol=1e-5)
    np.testing.assert_allclose(numpy(sinkhorn(scores, 0.05, 3)), naive_sinkhorn(scores, 0.05, 3), rtol=1e-4, atol=1e-6)
    wide = 4.0 * scores  # the usual form overflows in float32
    np.testing.assert_allclose(numpy(sinkhorn(wide, 0.01, 3)), naive_sinkhorn(wide, 0.01, 3), rtol=1e-3, atol=1e-6)
    assert np.isfinite(numpy(sinkhorn(scores, 1e-4, 3))).all()


def test_small_crops_predict_but_give_no_codes():
    views, weight = arrays(3, 6, 8), np.array([1.0, 2.0, 0.0, 1.0, 1.0, 3.0], "float32")
    loss = SwAV(num_prototypes=5, dim=8, temperature=0.2, seed=0, inputs=("a", "b", "c"))
    scores = unit(views) @ unit(numpy(loss.prototypes)).T
    per_row = np.zeros(6)
    for u in (0, 1):
        codes = naive_sinkhorn(scores[u], 0.05, 3)
        for v in range(3):
            if v != u:
                per_row -= 0.25 * np.sum(codes * np.log(softmax(scores[v] / 0.2)), axis=1)
    got = loss(*views, sample_weight=weight)
    assert float(numpy(got)) == pytest.approx(np.average(per_row, weights=weight), rel=1e-4)
    assert loss.pairs(6) == (18, 5) and loss.negatives(6) == 0


def test_the_queue_of_swav_balances_codes_once_it_holds_rows():
    (a, b), (c, d) = arrays(2, 6, 8), arrays(2, 6, 8, seed=1)
    plain, queued = (SwAV(num_prototypes=5, dim=8, queue_size=size, seed=0) for size in (0, 10))
    assert float(numpy(queued(a, b, training=True))) == pytest.approx(float(numpy(plain(a, b))), rel=1e-5)
    np.testing.assert_allclose(numpy(queued.queue)[:, :6], unit(np.stack([a, b])), rtol=1e-5)
    assert numpy(queued.pointer).tolist() == [6, 6]
    scores = [unit(x) @ unit(numpy(queued.prototypes)).T for x in (a, b, c, d)]
    want = 0.0
    for old, new, other in ((scores[0], scores[2], scores[3]), (scores[1], scores[3], scores[2])):
        codes = naive_sinkhorn(np.concatenate([old, new]), 0.05, 3)[6:]
        want -= 0.5 * np.mean(np.sum(codes * np.log(softmax(other / 0.1)), axis=1))
    assert float(numpy(queued(c, d))) == pytest.approx(want, rel=1e-4)


def test_prototypes_are_trained_and_equal_rows_are_undecided():
    loss = SwAV(num_prototypes=5, dim=8, temperature=LearnableTemperature(0.1))
    assert len(loss.trainable_variables) == 2
    loss.prototypes.assign(np.ones((5, 8)))
    rows = np.ones((6, 8), "float32")
    assert float(numpy(loss(rows, rows))) == pytest.approx(math.log(5), rel=1e-5)


@pytest.mark.parametrize(
    "call, sentence",
    [
        (lambda: SwAV(4, dim=3)(arrays(2, 4), arrays(2, 4)), "SwAV has prototypes of dim=3, but received .* length 4"),
        (lambda: SwAV(iterations=0), "iterations is 0; give a whole number of at least 1"),
        (lambda: SwAV(inputs=("one",)), "SwAV reads at least 2 tensors, but inputs names 1"),
    ],
)
def test_what_cannot_be_computed_is_refused(call, sentence):
    with pytest.raises(ValueError, match=sentence):
        call()
