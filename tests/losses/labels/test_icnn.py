"""ICNN: neighbourhoods of one class and of no class."""

import math

import numpy as np
import pytest
from naive_softmax import value_of

from kzoo.losses import ICNN


def embeddings(rows=7, dim=5, seed=0):
    return np.random.default_rng(seed).normal(size=(rows, dim)).astype("float32")


def test_neighbourhoods_of_one_class_and_of_no_class():
    x = embeddings(6)
    assert value_of(ICNN(k=2), x, labels=np.zeros(6, "int32")) == pytest.approx(0.0, abs=1e-5)
    distance = np.sqrt(np.sum((x[:, None] - x[None]) ** 2, axis=-1) + 1e-6)
    near = np.sort(distance + 99.0 * np.eye(6), axis=1)[:, :2]
    want = -math.log((1.0 + np.mean(near / near.max())) / 4.0)  # SC = 1, DC, Gamma = 0
    assert value_of(ICNN(k=2), x, labels=np.arange(6)) == pytest.approx(want, rel=1e-4)
    few = value_of(ICNN(k=2), x[:4], labels=np.array([0, 1, 0, 1]))  # k + 2 rows: Gamma = 1
    assert 0.0 <= few <= math.log(2.0)
    with pytest.raises(ValueError, match="the batch has 2 rows; give at least 3"):
        ICNN()(x[:2], labels=np.zeros(2, "int32"))
