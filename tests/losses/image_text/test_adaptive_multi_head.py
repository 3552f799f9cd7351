"""AdaptiveMultiHead: temperatures of heads and of pairs, their gradients, what is refused."""

import math

import numpy as np
import pytest
from naive_softmax import value_of
from shared_case import numpy, value_and_gradients

from kzoo.losses import AdaptiveMultiHead, InfoNCE


def heads(rows=4, count=2, dim=3):
    return np.random.default_rng(0).normal(size=(2, rows, count, dim)).astype("float32")


@pytest.mark.parametrize("block_size", [None, 3])
def test_each_head_is_info_nce_at_its_temperature(block_size):
    a, b = heads()
    tau = np.array([0.2, 0.5], "float32")
    parts = [value_of(InfoNCE(float(t)), a[:, c], b[:, c]) for c, t in enumerate(tau)]
    loss = AdaptiveMultiHead(block_size=block_size)
    assert value_of(loss, a, b, temperatures=tau) == pytest.approx(np.mean(parts), rel=1e-5)
    of_pairs = np.broadcast_to(tau[:, None, None], (2, 4, 4)).copy()
    assert value_of(loss, a, b, temperatures=of_pairs) == pytest.approx(np.mean(parts), rel=1e-5)
    same = np.repeat(a[:, :1], 2, axis=1), np.repeat(b[:, :1], 2, axis=1)
    assert value_of(loss, *same, temperatures=tau[[0, 0]]) == pytest.approx(parts[0], rel=1e-5)
    penalty = np.mean(1.5 * np.log(tau) + 1.0 / tau)
    with_penalty = AdaptiveMultiHead(0.1, block_size=block_size)
    assert value_of(with_penalty, a, b, temperatures=tau) == pytest.approx(np.mean(parts) + 0.1 * penalty, rel=1e-5)


@pytest.mark.parametrize("shape", [(2,), (2, 4, 4)])
def test_temperatures_get_their_gradient_in_blocks(shape):
    a, b = heads()
    tau = np.random.default_rng(1).uniform(0.3, 0.6, shape).astype("float32")
    loss, step = AdaptiveMultiHead(0.1, block_size=3), np.zeros(shape, "float32")
    step[(1, 2, 3)[: len(shape)]] = 1e-2
    _, (gradient,) = value_and_gradients(lambda t: loss(a, b, temperatures=t), [tau])
    near = [value_of(loss, a, b, temperatures=tau + sign * step) for sign in (1.0, -1.0)]
    assert gradient[step > 0][0] == pytest.approx((near[0] - near[1]) / 2e-2, rel=2e-2, abs=1e-4)


def test_weights_and_small_batches():
    a, b = heads()
    tau = np.array([0.2, 0.5], "float32")
    parts = [
        value_of(AdaptiveMultiHead(), a, b, temperatures=tau, sample_weight=row) for row in np.eye(4, dtype="float32")
    ]
    assert np.mean(parts) == pytest.approx(value_of(AdaptiveMultiHead(), a, b, temperatures=tau), rel=1e-5)
    assert value_of(AdaptiveMultiHead(), a[:1], b[:1], temperatures=tau) == pytest.approx(0.0, abs=1e-6)
    equal = np.ones_like(a[:2])
    assert value_of(AdaptiveMultiHead(), equal, equal, temperatures=tau) == pytest.approx(math.log(2), rel=1e-5)
    got, gradients = value_and_gradients(
        lambda x, y: AdaptiveMultiHead()(x, y, temperatures=np.full(2, 1e-5, "float32")), [a[:2], b[:2]]
    )
    assert np.isfinite(got) and all(np.isfinite(gradient).all() for gradient in gradients)


def test_temperatures_are_read_by_name():
    a, b = heads()
    tau = np.array([0.2, 0.5], "float32")
    tensors = {"image_heads": a, "text_heads": b, "tau": tau}
    total, _ = AdaptiveMultiHead(temperatures="tau").from_tensors(tensors)
    assert float(numpy(total)) == pytest.approx(value_of(AdaptiveMultiHead(), a, b, temperatures=tau), rel=1e-6)
    with pytest.raises(ValueError, match=r"reads 'temperatures', but .* AdaptiveMultiHead\(temperatures=...\)"):
        AdaptiveMultiHead().from_tensors(tensors)


@pytest.mark.parametrize("block_size", [None, 3])
def test_temperatures_of_pairs_may_be_made_of_factors(block_size):
    a, b = heads()
    f, g = np.random.default_rng(1).normal(size=(2, 4, 2, 5)).astype("float32")
    tau = 0.1 + 1.4 / (1.0 + np.exp(-np.einsum("ihd,jhd->hij", f, g)))
    loss = AdaptiveMultiHead(0.1, bounds=(0.1, 1.5), block_size=block_size)
    assert loss.reads == ("image_heads", "text_heads", "image_temperature_factors", "text_temperature_factors")
    tensors = dict(zip(loss.reads, (a, b, f, g)))
    wanted = value_of(AdaptiveMultiHead(0.1), a, b, temperatures=tau.astype("float32"))
    assert float(numpy(loss.from_tensors(tensors)[0])) == pytest.approx(wanted, rel=1e-5)
    _, gradients = value_and_gradients(lambda f, g: loss(a, b, a_factors=f, b_factors=g), [f, g])
    assert all(np.abs(each).max() > 1e-4 for each in gradients)


def test_bounds_and_temperatures_that_cannot_be():
    with pytest.raises(ValueError, match=r"bounds is \(2.0, 1.0\); give two temperatures above 0, the lower one first"):
        AdaptiveMultiHead(bounds=(2.0, 1.0))
    with pytest.raises(TypeError, match="AdaptiveMultiHead needs a_factors; call it as loss"):
        AdaptiveMultiHead(bounds=(0.1, 2.0))(*heads(), temperatures=np.ones(2, "float32"))


@pytest.mark.parametrize("shape", [(3,), (2, 4), (1, 4, 4)])
def test_temperatures_must_fit_the_heads(shape):
    with pytest.raises(ValueError, match=r"temperatures as \(heads,\) or \(heads, batch, batch\), but got"):
        AdaptiveMultiHead()(*heads(), temperatures=np.ones(shape, "float32"))
