"""MultiLabelClusterDiscrimination: which clusters count, centers of its own, errors."""

import math

import numpy as np
import pytest
from naive_softmax import unit, value_of

from kzoo.losses import MultiLabelClusterDiscrimination

ROWS, LABELS, DIM = 5, 7, 4
RANDOM = np.random.default_rng(0)
A = RANDOM.normal(size=(ROWS, DIM)).astype("float32")
LABEL_EMBEDDINGS = RANDOM.normal(size=(LABELS, DIM)).astype("float32")


def scores(temperature):
    return (unit(A) @ unit(LABEL_EMBEDDINGS).T / temperature).astype("float64")


CLUSTERS = np.array([[0, 3], [2, 2], [6, -1], [-1, -1], [5, 0]])


def test_clusters_count_once_and_minus_one_fills_up():
    s, total = 3.0 * scores(1.0), 0.0
    for i in range(ROWS):
        own = set(CLUSTERS[i]) - {-1}
        total += math.log1p(sum(math.exp(s[i, k]) for k in range(LABELS) if k not in own))
        total += math.log1p(sum(math.exp(-s[i, k]) for k in own))
    got = value_of(MultiLabelClusterDiscrimination(3.0), A, LABEL_EMBEDDINGS, positives=CLUSTERS)
    assert got == pytest.approx(total / ROWS, rel=1e-6)


def test_clusters_at_right_angles_and_far_apart():
    loss = MultiLabelClusterDiscrimination(100.0)
    one = np.arange(3)[:, None]
    zero = value_of(loss, np.zeros((3, 3)), np.eye(3), positives=one)
    assert zero == pytest.approx(math.log(3) + math.log(2), rel=1e-6)
    assert value_of(loss, np.eye(3), 2.0 * np.eye(3) - 1.0, positives=one) == pytest.approx(0.0, abs=1e-6)
    all_own = value_of(loss, np.eye(3), np.eye(3), positives=np.tile(np.arange(3), (3, 1)))
    assert all_own == pytest.approx(math.log(3.0), rel=1e-6)  # two centers at right angles to the row, none to avoid


@pytest.mark.parametrize("block_size", [None, 2])
def test_the_loss_may_own_and_train_its_centers(block_size):
    loss = MultiLabelClusterDiscrimination(3.0, num_classes=LABELS, dim=DIM, block_size=block_size)
    assert loss.input_names == ("image_embeddings",) and loss.pairs(8) == (8, LABELS)
    assert [weight.shape for weight in loss.trainable_variables] == [(LABELS, DIM)]
    loss.centers.assign(LABEL_EMBEDDINGS)
    want = value_of(MultiLabelClusterDiscrimination(3.0), A, LABEL_EMBEDDINGS, positives=CLUSTERS)
    assert value_of(loss, A, positives=CLUSTERS) == pytest.approx(want, rel=1e-6)


@pytest.mark.parametrize(
    "call, sentence",
    [
        (lambda: MultiLabelClusterDiscrimination(0.0), "scale is 0.0"),
        (lambda: MultiLabelClusterDiscrimination(dim=4), "num_classes=None and dim=4 go together"),
        (lambda: MultiLabelClusterDiscrimination()(A, positives=CLUSTERS), "no centers of its own, but none came"),
        (lambda: MultiLabelClusterDiscrimination()(A, LABEL_EMBEDDINGS), "needs positives"),
        (
            lambda: MultiLabelClusterDiscrimination(1.0, LABELS, DIM)(A, LABEL_EMBEDDINGS, positives=CLUSTERS),
            r"centers of its own, but others came, \(7, 4\)",
        ),
    ],
)
def test_bad_input(call, sentence):
    with pytest.raises((ValueError, TypeError), match=sentence):
        call()
