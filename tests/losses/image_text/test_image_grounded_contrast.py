"""ImageGroundedContrast against a loop over a row's own negatives, and without any."""

import math

import numpy as np
import pytest
from naive_softmax import unit, value_of

from kzoo.losses import ImageGroundedContrast

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


def test_grounded_contrasts_equal_a_loop_over_a_rows_own_negatives():
    for mask in (np.ones_like(MASK), MASK):
        own = [[NEGATIVES[i, n] for n in range(COUNT) if mask[i, n]] for i in range(ROWS)]
        want = np.mean([choice(A[i], [B[i], *own[i]], 2.0) for i in range(ROWS)])
        got = value_of(ImageGroundedContrast(0.5), A, B, negatives=NEGATIVES, mask=mask)
        assert got == pytest.approx(want, rel=1e-6)


def test_grounded_contrasts_without_negatives_are_0():
    assert value_of(ImageGroundedContrast(), A, B, negatives=NEGATIVES[:, :0]) == 0.0
    same = np.broadcast_to(B[:, None], NEGATIVES.shape)
    assert value_of(ImageGroundedContrast(), A, B, negatives=same) == pytest.approx(math.log(1 + COUNT), rel=1e-6)


@pytest.mark.parametrize("loss", [ImageGroundedContrast])
@pytest.mark.parametrize("negatives", [B, NEGATIVES[:4], NEGATIVES[..., :3]])
def test_negatives_of_another_shape(loss, negatives):
    with pytest.raises(ValueError, match=r"takes .*negatives as \(batch, count, dim\)"):
        loss()(A, B, negatives=negatives)
