"""MixupContrastive and GeodesicMixup: against loops, their invariants, their draws, what they refuse."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from keras import ops
from naive_softmax import unit, value_of
from shared_case import numpy, value_and_gradients

from kzoo.losses import GeodesicMixup, InfoNCE, MixupContrastive
from kzoo.losses.image_text.geodesic_mixup import slerp

PLAIN = {name: np.arange(5) for name in ("a_permutation", "b_permutation")}


def embeddings(rows=5, dim=4, seed=0):
    return np.random.default_rng(seed).normal(size=(2, rows, dim)).astype("float32")


def cross_entropy(z, target):
    log_sums = [math.log(sum(math.exp(v) for v in row)) for row in z]
    return np.mean([sum(t * (log_sum - v) for t, v in zip(*pair)) for log_sum, *pair in zip(log_sums, target, z)])


def test_mixup_equals_loops():
    a, b = embeddings()
    draws = {"a": (np.array([1, 1, 4, 3, 0]), np.array([0.3, 1.0, 0.5, 0.2, 0.0], "float32"))}
    draws["b"] = draws["a"][0][::-1], draws["a"][1][::-1].copy()  # row 1 of one side stays with itself
    wanted = 0.0
    for x, y, (order, lam) in ((a, b, draws["a"]), (b, a, draws["b"])):
        target = np.diag(lam)
        for i in range(5):
            target[i, order[i]] += 1.0 - lam[i]
        z = unit(lam[:, None] * x + (1.0 - lam[:, None]) * x[order]) @ unit(y).T / 0.2
        wanted += 0.5 * (cross_entropy(z, target) + cross_entropy(z.T, target.T))
    given = {f"{side}_{name}": array for side in "ab" for name, array in zip(("permutation", "lam"), draws[side])}
    assert value_of(MixupContrastive(0.2), a, b, **given) == pytest.approx(wanted, rel=2e-6)


def test_mixup_at_its_ends_is_info_nce():
    a, b = embeddings()
    twice = pytest.approx(2 * value_of(InfoNCE(0.1), a, b), rel=1e-5)
    assert value_of(MixupContrastive(probability=0.0), a, b) == twice
    ones, around = np.ones(5, "float32"), np.roll(np.arange(5), 1)
    assert value_of(MixupContrastive(), a, b, **PLAIN, a_lam=0 * ones, b_lam=0.4 * ones) == twice  # mixed with itself
    permuted = {name: around for name in PLAIN}
    assert value_of(MixupContrastive(), a, b, **permuted, a_lam=0 * ones, b_lam=0 * ones) == twice  # pairs all the same


@pytest.mark.parametrize("loss", [MixupContrastive, GeodesicMixup])
def test_draws_come_from_the_seed(loss):
    a, b = embeddings()
    one, other = loss(seed=3), loss(seed=3)
    first = value_of(one, a, b)
    assert first == value_of(other, a, b) and first != value_of(one, a, b)
    assert math.isfinite(value_of(loss(beta=1e-3), a, b))


@pytest.mark.parametrize("mode", ["m2", "v", "l", "vl"])
def test_geodesic_equals_loops_with_an_odd_batch(mode):
    a, b = embeddings()
    x, y = unit(a.astype("float64")), unit(b.astype("float64"))

    def arc(p, q):
        angle = np.arccos(np.clip(np.sum(p * q, axis=1, keepdims=True), -1 + 1e-12, 1 - 1e-12))
        return (np.sin(0.3 * angle) * p + np.sin(0.7 * angle) * q) / np.sin(angle)

    if mode == "m2":
        wanted = 0.0
        for p, q in ((x, y), (y, x)):
            z = p @ arc(x, y).T / 0.2
            z[np.arange(5), np.arange(5)] = np.sum(p * q, axis=1) / 0.2
            wanted += 0.5 * cross_entropy(z, np.eye(5))
    else:
        z = (arc(x, x[::-1]) if "v" in mode else x) @ (arc(y, y[::-1]) if "l" in mode else y).T / 0.2
        target = np.eye(5) + np.eye(5)[::-1] if mode == "vl" else 0.3 * np.eye(5) + 0.7 * np.eye(5)[::-1]
        wanted = 0.5 * (cross_entropy(z, target) + cross_entropy(z.T, target.T))
    assert value_of(GeodesicMixup(0.2, mode, lam=0.3), a, b) == pytest.approx(wanted, rel=1e-5)
    assert value_of(GeodesicMixup(None, mode, lam=0.3), a, b, scale=np.float32(5.0)) == pytest.approx(wanted, rel=1e-5)


@settings(max_examples=3, deadline=None)
@given(seed=st.integers(0, 1000), lam=st.floats(0.0, 1.0))
def test_invariants(seed, lam):
    a, b = embeddings(seed=seed)
    mirrored = value_of(GeodesicMixup(0.2, lam=1.0 - lam), b, a)
    assert value_of(GeodesicMixup(0.2, lam=lam), a, b) == pytest.approx(mirrored, rel=1e-4, abs=1e-5)
    order = np.random.default_rng(seed).permutation(5)
    assert value_of(GeodesicMixup(0.2, lam=lam), a[order], b[order]) == pytest.approx(mirrored, rel=1e-4, abs=1e-5)
    lengths = np.linalg.norm(numpy(slerp(*map(ops.convert_to_tensor, (unit(a), unit(b))), lam)), axis=1)
    np.testing.assert_allclose(lengths, 1.0, rtol=1e-4)


def test_a_mixture_that_is_the_picture_leaves_info_nce_of_texts():
    a, b = embeddings()
    texts = value_of(InfoNCE(0.2, direction="b_to_a"), a, b)
    pictures = 2 * value_of(GeodesicMixup(0.2, lam=1.0), a, b) - texts
    z = unit(a) @ unit(a).T / 0.2
    z[np.arange(5), np.arange(5)] = np.sum(unit(a) * unit(b), axis=1) / 0.2
    assert pictures == pytest.approx(cross_entropy(z, np.eye(5)), rel=1e-5)


@pytest.mark.parametrize("mode, other", [("m2", 1.0), ("m2", -1.0), ("vl", 1.0)])
def test_rows_without_an_arc_between_stay_finite(mode, other):
    a, _ = embeddings()
    got, gradients = value_and_gradients(GeodesicMixup(0.2, mode, lam=0.4), [a, np.float32(other) * a])
    assert np.isfinite(got) and all(np.isfinite(gradient).all() for gradient in gradients)


@pytest.mark.parametrize("rows", [1, 2])
def test_small_batches_stay_finite(rows):
    order, lam = np.zeros(rows, "int32"), np.full(rows, 0.5, "float32")
    draws = {"a_permutation": order, "a_lam": lam, "b_permutation": order, "b_lam": lam}
    for loss in (lambda a, b: MixupContrastive(1e-4)(a, b, **draws), GeodesicMixup(1e-4, lam=0.5)):
        got, gradients = value_and_gradients(loss, list(embeddings(rows)))
        assert np.isfinite(got) and all(np.isfinite(gradient).all() for gradient in gradients)


@pytest.mark.parametrize(
    "build, sentence",
    [
        (lambda: MixupContrastive(probability=1.5), r"probability is 1.5; give a number in"),
        (lambda: MixupContrastive(temperature=0.0), "give a positive number"),
        (lambda: GeodesicMixup(mode="m3"), "mode 'm3' is unknown; choose one of m2, v, l, vl"),
        (lambda: GeodesicMixup(lam=1.5), "lam is 1.5; give a number in"),
    ],
)
def test_what_is_refused(build, sentence):
    with pytest.raises(ValueError, match=sentence):
        build()
