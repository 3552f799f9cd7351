"""ContrastiveMIM: any size of batch, and which tensor holds the anchors."""

import math

import numpy as np
import pytest
from naive_softmax import embeddings, unit, value_of

from kzoo.losses import ContrastiveMIM

T = 0.3
A, B = embeddings(6, 8)  # the shapes of the golden cases: JAX compiles each operation anew for others
WEIGHT = np.array([0.0, 1.0, 2.0, 0.5, 1.0, 3.0], "float32")


@pytest.mark.parametrize("batch", [1, 2, 6])
def test_contrastive_mim_does_not_depend_on_the_size_of_the_batch(batch):
    same = np.ones((batch, 8), "float32")
    want = math.log(2) if batch > 1 else 0.0
    assert value_of(ContrastiveMIM(), same, same) == pytest.approx(want, abs=1e-6)


def test_the_anchors_of_contrastive_mim_are_its_second_tensor():
    s = unit(B) @ unit(A).T / T
    rows = [
        math.log(math.exp(s[i, i]) + sum(math.exp(s[i, j]) for j in range(6) if j != i) / 5) - s[i, i] for i in range(6)
    ]
    want = np.average(rows, weights=WEIGHT)
    for block_size in (None, 4):
        got = value_of(ContrastiveMIM(T, block_size), A, B, sample_weight=WEIGHT)
        assert got == pytest.approx(want, rel=1e-5)


def test_bad_arguments():
    with pytest.raises(ValueError, match="give a positive number"):
        ContrastiveMIM(temperature=0.0)
