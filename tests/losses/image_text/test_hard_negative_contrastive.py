"""HardNegativeContrastive against a double loop, in blocks, without negatives, errors."""

import math

import numpy as np
import pytest
from naive_softmax import unit, value_of
from shared_case import value_and_gradients

from kzoo.losses import HardNegativeContrastive, InfoNCE

ROWS, COUNT, DIM = 5, 3, 4
RANDOM = np.random.default_rng(0)
A, B = RANDOM.normal(size=(2, ROWS, DIM)).astype("float32")
NEGATIVES = RANDOM.normal(size=(ROWS, COUNT, DIM)).astype("float32")
MASK = RANDOM.random((ROWS, COUNT)) < 0.5
MASK[0], MASK[1] = False, True


def choice(x, candidates, scale):
    """Cross-entropy of the first of a list of candidates."""
    z = [scale * float(unit(x) @ unit(each)) for each in candidates]
    return math.log(sum(math.exp(each - z[0]) for each in z))


def naive_hard_negatives(temperature, scope, mask):
    total = 0.0
    for i in range(ROWS):
        others = [B[j] for j in range(ROWS) if j != i]
        hard = [
            NEGATIVES[j, n] for j in range(ROWS) for n in range(COUNT) if mask[j, n] and (scope == "batch" or j == i)
        ]
        total += choice(A[i], [B[i], *others, *hard], 1 / temperature)
        total += choice(B[i], [A[i], *(A[j] for j in range(ROWS) if j != i)], 1 / temperature)
    return total / (2 * ROWS)


@pytest.mark.parametrize("mask", [None, MASK], ids=["all there", "masked"])
@pytest.mark.parametrize("scope", ["batch", "own"])
def test_hard_negatives_equal_a_double_loop(scope, mask):
    got = value_of(HardNegativeContrastive(0.2, scope), A, B, negatives=NEGATIVES, mask=mask)
    want = naive_hard_negatives(0.2, scope, np.ones_like(MASK) if mask is None else mask)
    assert got == pytest.approx(want, rel=2e-6)


@pytest.mark.parametrize("scope", ["batch", "own"])
def test_blocks_give_negatives_and_scale_the_same_gradients(scope):
    def gradients(block_size):
        loss = HardNegativeContrastive(scope=scope, block_size=block_size)
        function = lambda a, b, n, scale: loss(a, b, negatives=n, mask=MASK, scale=scale)  # noqa: E731
        return value_and_gradients(function, [A, B, NEGATIVES, np.float32(5.0)])

    (whole, of_whole), (blocks, of_blocks) = gradients(None), gradients(2)
    assert blocks == pytest.approx(whole, rel=1e-6)
    for one, other in zip(of_whole, of_blocks, strict=True):
        assert np.abs(one).max() > 1e-3
        np.testing.assert_allclose(other, one, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("scope", ["batch", "own"])
def test_without_hard_negatives_it_is_info_nce(scope):
    loss, plain = HardNegativeContrastive(scope=scope), value_of(InfoNCE(), A, B)
    assert value_of(loss, A, B, negatives=NEGATIVES[:, :0]) == pytest.approx(plain, rel=1e-6)
    assert value_of(loss, A, B, negatives=NEGATIVES, mask=np.zeros_like(MASK)) == pytest.approx(plain, rel=1e-6)
    with_them = value_of(loss, A, B, negatives=NEGATIVES)
    assert with_them > plain
    assert value_of(loss, A, B, negatives=NEGATIVES[:, ::-1].copy()) == pytest.approx(with_them, rel=1e-6)


def test_one_pair_still_has_its_hard_negatives():
    got = value_of(HardNegativeContrastive(0.2), A[:1], B[:1], negatives=NEGATIVES[:1])
    assert got == pytest.approx(0.5 * choice(A[0], [B[0], *NEGATIVES[0]], 5.0), rel=1e-5)


def test_bad_arguments():
    with pytest.raises(ValueError, match="scope 'all' is unknown; choose one of batch, own"):
        HardNegativeContrastive(scope="all")


@pytest.mark.parametrize("loss", [HardNegativeContrastive])
@pytest.mark.parametrize("negatives", [B, NEGATIVES[:4], NEGATIVES[..., :3]])
def test_negatives_of_another_shape(loss, negatives):
    with pytest.raises(ValueError, match=r"takes .*negatives as \(batch, count, dim\)"):
        loss()(A, B, negatives=negatives)
