"""Losses with a queue: against loops, by invariants, what is drawn, and what enters the queue."""

import math

import numpy as np
import pytest
from naive_softmax import unit
from shared_case import numpy, value_and_gradients

from kzoo.losses import FeatureTransformContrastive, LearnableTemperature, MoCHi, QueueContrastive

SIZES = {"temperature": 0.3, "queue_size": 10, "dim": 8, "seed": 0}


def views(rows=6, seed=0):
    return np.random.default_rng(seed).normal(size=(2, rows, 8)).astype("float32")


def cross_entropy(q, k, negatives, temperature=0.3):
    z = [float(q @ k) / temperature, *(float(q @ each) / temperature for each in negatives)]
    return math.log(sum(math.exp(each) for each in z)) - z[0]


@pytest.mark.parametrize("block_size", [None, 2])
def test_groups_have_queues_of_their_own(block_size):
    q, k = views()
    groups, weight = np.array([1, 0, 1, 0, 0, 1], "int32"), np.array([1.0, 2.0, 3.0, 0.0, 1.0, 1.0], "float32")
    loss = QueueContrastive(**SIZES, num_groups=2, block_size=block_size)
    queue = numpy(loss.queue)
    want = [cross_entropy(unit(q)[i], unit(k)[i], queue[groups[i]]) for i in range(6)]
    got = loss(q, k, groups=groups, sample_weight=weight, training=True)
    assert float(numpy(got)) == pytest.approx(np.average(want, weights=weight), rel=1e-5)
    np.testing.assert_array_equal(numpy(loss.pointer), [3, 3])
    np.testing.assert_allclose(numpy(loss.queue)[1], np.concatenate([unit(k)[[0, 2, 5]], queue[1, 3:]]), rtol=1e-6)
    np.testing.assert_allclose(numpy(loss.queue)[0], np.concatenate([unit(k)[[1, 3, 4]], queue[0, 3:]]), rtol=1e-6)
    assert loss.pairs(6) == (6, 21) and loss.negatives(6) == 10


def test_the_queue_holds_keys_only_after_enough_steps():
    loss = QueueContrastive(**SIZES)
    keys = [views(6, seed)[1] for seed in range(2)]
    for key in keys:
        loss(key, key, training=True)
    kept = np.concatenate([unit(key) for key in keys])
    np.testing.assert_allclose(numpy(loss.queue), np.concatenate([kept[10:], kept[2:10]]), rtol=1e-6)


def test_a_queue_of_zeros_is_finite_and_keys_get_a_gradient_only_if_asked():
    for stop_gradient_key in (True, False):
        loss = QueueContrastive(**SIZES, stop_gradient_key=stop_gradient_key)
        loss.queue.assign(np.zeros((10, 8)))
        value, (_, of_key) = value_and_gradients(loss, list(views()))
        assert np.isfinite(value) and of_key.any() != stop_gradient_key


def test_temperature_may_be_learned():
    q, k = views()
    loss = QueueContrastive(**(SIZES | {"temperature": LearnableTemperature(0.3)}))
    assert float(numpy(loss(q, k))) == pytest.approx(float(numpy(QueueContrastive(**SIZES)(q, k))), rel=1e-5)
    assert len(loss.trainable_variables) == 1


def test_mixtures_only_add_negatives():
    q, k = views()
    plain = float(numpy(QueueContrastive(**SIZES)(q, k)))
    for s, s_prime in ((3, 0), (0, 2)):
        loss = MoCHi(**SIZES, n_hard=2, s=s, s_prime=s_prime)
        assert float(numpy(loss(q, k))) > plain
    assert float(numpy(MoCHi(**SIZES, n_hard=2, s=0, s_prime=0)(q, k))) == pytest.approx(plain, rel=1e-6)
    assert loss.pairs(6) == (6, 13) and loss.negatives(6) == 12


def test_mixing_waits_for_the_warm_up_where_the_epoch_is_known():
    q, k = views()
    loss = MoCHi(**SIZES, n_hard=2, s=3, s_prime=2, warmup_epochs=5)
    plain = float(numpy(QueueContrastive(**SIZES)(q, k)))
    assert float(numpy(loss(q, k, epoch=np.full(6, 4)))) == pytest.approx(plain, rel=1e-6)
    assert float(numpy(loss(q, k, epoch=np.int32(5)))) > plain


def test_no_gradient_goes_through_mixed_points():
    q, k = views(1)
    loss = MoCHi(**SIZES, n_hard=2, s=0, s_prime=1)
    draws = {"query_indices": np.array([[1]]), "beta": np.array([[0.4]], "float32")}
    value, (gradient, _) = value_and_gradients(lambda q, k: loss(q, k, **draws), [q, k])
    queue, u = numpy(loss.queue), unit(q)[0]
    second = queue[np.argsort(-queue @ u)[1]]
    mixed = unit(0.4 * u + 0.6 * second)
    negatives = [*queue, mixed]
    assert value == pytest.approx(cross_entropy(u, unit(k)[0], negatives), rel=1e-5)
    points = np.stack([unit(k)[0], *negatives])
    p = np.exp(points @ u / 0.3)
    of_unit = ((p / p.sum()) @ points - points[0]) / 0.3
    want = (of_unit - (of_unit @ u) * u) / np.linalg.norm(q)
    np.testing.assert_allclose(gradient[0], want, rtol=1e-4, atol=1e-6)


def test_untouched_features_give_the_plain_loss():
    q, k = views()
    ones = {"lam_pos": np.ones((6, 8), "float32"), "lam_neg": np.ones((10, 8), "float32")}
    plain = float(numpy(QueueContrastive(**SIZES)(q, k)))
    for renormalize in (False, True):
        loss = FeatureTransformContrastive(**SIZES, renormalize=renormalize)
        assert float(numpy(loss(q, k, **ones))) == pytest.approx(plain, rel=1e-5)


def test_renormalised_features_have_unit_length():
    q, k = views(1)
    lam_pos, lam_neg = np.full((1, 8), 1.5, "float32"), np.full((10, 8), 0.5, "float32")
    loss = FeatureTransformContrastive(**SIZES, renormalize=True)
    queue, u, v = numpy(loss.queue), unit(q)[0], unit(k)[0]
    got = loss(q, k, lam_pos=lam_pos, lam_neg=lam_neg, permutation=np.roll(np.arange(10), -1))
    negatives = unit(0.5 * queue + 0.5 * np.roll(queue, -1, axis=0))
    want = cross_entropy(unit(1.5 * u - 0.5 * v), unit(1.5 * v - 0.5 * u), negatives)
    assert float(numpy(got)) == pytest.approx(want, rel=1e-5)


@pytest.mark.parametrize("loss_class", [MoCHi, FeatureTransformContrastive])
def test_a_seed_fixes_what_is_drawn_and_each_step_draws_anew(loss_class):
    q, k = views()
    sizes = SIZES | ({"n_hard": 3, "s": 4, "s_prime": 2} if loss_class is MoCHi else {})
    one, two = loss_class(**sizes), loss_class(**sizes)
    values = [float(numpy(loss(q, k))) for loss in (one, two, two)]
    assert values[0] == values[1] != values[2]


@pytest.mark.parametrize(
    "loss_class, arguments, sentence",
    [
        (QueueContrastive, {"queue_size": 0}, "queue_size is 0; give a whole number of at least 1"),
        (QueueContrastive, {"num_groups": 0}, "num_groups is 0; give a whole number of at least 1"),
        (MoCHi, {"n_hard": 1}, "n_hard is 1; give at least 2, to mix, and at most queue_size=10"),
        (MoCHi, {"n_hard": 11}, "n_hard is 11; give at least 2, to mix, and at most queue_size=10"),
        (FeatureTransformContrastive, {"neg_alpha": 0.0}, "neg_alpha is 0.0; give a positive number"),
    ],
)
def test_bad_arguments(loss_class, arguments, sentence):
    with pytest.raises(ValueError, match=sentence):
        loss_class(**(SIZES | arguments))


def test_rows_that_do_not_fit_the_queue_are_refused():
    q, k = views()
    with pytest.raises(
        ValueError, match="has a queue of dim=8, but received embeddings of length 3; give the loss dim=3"
    ):
        QueueContrastive(**SIZES)(q[:, :3], k[:, :3])
    with pytest.raises(ValueError, match="has num_groups=2 queues; give the groups of rows"):
        QueueContrastive(**SIZES, num_groups=2)(q, k)
