"""Barlow Twins, with mixed views too, and VICReg: loops, invariants, small batches."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from shared_case import numpy, value_and_gradients

from kzoo.losses import BarlowTwins, MixedBarlowTwins, VICReg


def views(count=2, rows=6, dim=8, seed=0):
    return np.random.default_rng(seed).normal(size=(count, rows, dim)).astype("float32")


def standard(x):
    return (x - x.mean(axis=0)) / x.std(axis=0)


@settings(max_examples=5, deadline=None)
@given(seed=st.integers(0, 1000))
def test_barlow_twins_sees_neither_order_nor_scale_of_columns(seed):
    a, b = views(seed=seed)
    random = np.random.default_rng(seed)
    scale, shift, order = random.uniform(0.5, 4.0, 8), random.normal(size=8), random.permutation(6)
    value = float(numpy(BarlowTwins()(a, b)))
    assert value == pytest.approx(float(numpy(BarlowTwins()((scale * a + shift)[order], b[order]))), rel=1e-3, abs=1e-4)
    assert value == pytest.approx(float(numpy(BarlowTwins()(b, a))), rel=1e-5)


def test_orthogonal_columns_that_agree_cost_nothing():
    a = np.array([[1.0, 1.0], [1.0, -1.0], [-1.0, 1.0], [-1.0, -1.0]])
    assert float(numpy(BarlowTwins()(a, a))) == pytest.approx(0.0, abs=1e-6)


def test_mixed_barlow_twins_equals_a_loop_with_a_share_of_each_row():
    a, b, m = views(3)
    lam, permutation = np.array([0.1, 0.9, 0.5, 0.3, 0.7, 0.6], "float32"), np.array([4, 2, 3, 5, 1, 0])
    loss = MixedBarlowTwins(lambd=0.1, mix_scale=3.0)
    A, B, M = standard(a), standard(b), standard(m)
    wanted = lam[:, None] * A + (1.0 - lam[:, None]) * B[permutation]
    more = 0.0
    for view in (A, B):
        for u in range(8):
            for v in range(8):
                more += (sum(M[i, u] * view[i, v] - wanted[i, u] * view[i, v] for i in range(6)) / 6) ** 2
    want = float(numpy(BarlowTwins(0.1)(a, b))) + 0.3 * more
    assert float(numpy(loss(a, b, m, lam=lam, permutation=permutation))) == pytest.approx(want, rel=1e-5)
    plain = loss(a, b, a, lam=1.0, permutation=permutation)
    assert float(numpy(plain)) == pytest.approx(float(numpy(BarlowTwins(0.1)(a, b))), rel=1e-5)


def test_equal_rows_cost_vicreg_the_deviation_only():
    ones = np.ones((6, 8), "float32")
    assert float(numpy(VICReg()(ones, ones))) == pytest.approx(0.99 * 25.0, rel=1e-6)


@pytest.mark.parametrize("loss", [BarlowTwins(), VICReg()], ids=["barlow", "vicreg"])
def test_two_rows_and_constant_columns_are_finite(loss):
    a, b = views(rows=2)
    a[:, 0] = 3.0
    value, gradients = value_and_gradients(loss, [a, b])
    assert np.isfinite(value) and all(np.isfinite(gradient).all() for gradient in gradients)


def test_one_row_has_no_variance():
    a, b, m = views(3, rows=1)
    sentence = "compares columns over a batch and needs 2 rows, but got 1"
    with pytest.raises(ValueError, match=f"BarlowTwins {sentence}"):
        BarlowTwins()(a, b)
    with pytest.raises(ValueError, match=f"MixedBarlowTwins {sentence}"):
        MixedBarlowTwins()(a, b, m, lam=0.5, permutation=np.array([0]))
    with pytest.raises(ValueError, match=f"VICReg {sentence}"):
        VICReg()(a, b)


def test_what_the_caller_mixed_is_needed():
    with pytest.raises(ValueError, match=r"reads 'lam', but .* with MixedBarlowTwins\(lam=...\)"):
        MixedBarlowTwins().from_tensors({"view_1": 0, "view_2": 0, "mixed_view": 0})
