"""ProtoTriplet: prototypes that count."""

import numpy as np
import pytest
from naive_softmax import value_of

from kzoo.losses import ProtoTriplet


def embeddings(rows=7, dim=5, seed=0):
    return np.random.default_rng(seed).normal(size=(rows, dim)).astype("float32")


def test_prototypes_that_are_alone_or_foreign_do_not_count():
    x, prototypes, labels = embeddings(3), embeddings(2, seed=1), np.array([0, 1, 5])
    distance = np.sqrt(np.sum((x[:, None] - prototypes[None]) ** 2, axis=-1) + 1e-6)
    values = [max(distance[i, c] - distance[i, 1 - c] + 0.5, 0.0) for i, c in enumerate(labels[:2])]
    assert value_of(ProtoTriplet(), x, prototypes, labels=labels) == pytest.approx(np.mean(values), rel=1e-5)
    weight = np.array([0.0, 3.0, 1.0], "float32")
    weighted = value_of(ProtoTriplet(block_size=2), x, prototypes, labels=labels, sample_weight=weight)
    assert weighted == pytest.approx(values[1], rel=1e-5)
    assert value_of(ProtoTriplet(), x, prototypes[:1], labels=np.zeros(3, "int32")) == 0.0
