"""SelfSupervisedContrastive is the sum of its parts."""

import numpy as np
import pytest
from naive_softmax import embeddings, value_of

from kzoo.losses import InfoNCE, NTXent, SelfSupervisedContrastive

T = 0.3
A, B = embeddings(6, 8)  # the shapes of the golden cases: JAX compiles each operation anew for others
WEIGHT = np.array([0.5, 1.0, 2.0, 0.0, 1.0, 3.0], "float32")


def test_slip_is_the_sum_of_its_parts():
    views = embeddings(6, 8, seed=3)
    loss = SelfSupervisedContrastive(T, 0.2, ssl_weight=0.5, block_size=4)
    want = value_of(InfoNCE(T), A, B, sample_weight=WEIGHT) + 0.5 * value_of(NTXent(0.2), *views, sample_weight=WEIGHT)
    assert value_of(loss, A, B, *views, sample_weight=WEIGHT) == pytest.approx(want, rel=1e-5)
    alone = value_of(SelfSupervisedContrastive(T, ssl_weight=0.0), A, B, *views)
    assert alone == pytest.approx(value_of(InfoNCE(T), A, B), rel=1e-6)
    assert loss.pairs(8) == (16, 16) and loss.negatives(8) == 7


def test_temperatures_of_the_models_head():
    want = value_of(SelfSupervisedContrastive(0.25), A, B, B, A)
    assert value_of(SelfSupervisedContrastive(), A, B, B, A, scale=np.float32(4.0)) == pytest.approx(want, rel=1e-6)


@pytest.mark.filterwarnings("ignore:InfoNCE received a batch of one")
def test_a_batch_of_one():
    assert value_of(SelfSupervisedContrastive(T), A[:1], B[:1], A[:1], B[:1]) == pytest.approx(0.0, abs=1e-6)
