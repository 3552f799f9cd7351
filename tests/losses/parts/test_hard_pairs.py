"""The mixing of hard pairs against a loop, and what is drawn."""

import numpy as np
from shared_case import numpy

from kzoo.losses import mix_hard_pairs

LABELS = np.array([0, 1, 0, 2, 1, 1], "int32")  # 2 stands alone


def views(count=2, rows=6, dim=8, seed=0):
    return np.random.default_rng(seed).normal(size=(count, rows, dim)).astype("float32")


def unit(x):
    return x / np.maximum(np.linalg.norm(x, axis=-1, keepdims=True), 1e-6)


def test_hard_pairs_equal_a_loop():
    (z,) = views(1)
    y = np.eye(3, dtype="float32")[LABELS]
    lam = np.array([0.1, 0.9, 0.5, 0.3, 0.7, 0.6], "float32")
    permutation = np.array([4, 2, 3, 5, 1, 0])
    cosine = unit(z) @ unit(z).T
    got = [numpy(each) for each in mix_hard_pairs(z, y, lam, 0.8, permutation)]
    for i in range(6):
        positive = min((j for j in range(6) if LABELS[j] == LABELS[i]), key=lambda j: cosine[i, j])
        negative = max((j for j in range(6) if LABELS[j] != LABELS[i]), key=lambda j: cosine[i, j])
        for x, mixed, hard in ((z, got[0], got[2]), (y, got[1], got[3])):
            np.testing.assert_allclose(
                mixed[i], lam[i] * x[positive] + (1 - lam[i]) * x[negative], rtol=1e-5, atol=1e-6
            )
            np.testing.assert_allclose(hard[i], 0.2 * x[i] + 0.8 * x[permutation[i]], rtol=1e-5, atol=1e-6)


def test_hard_pairs_that_are_drawn_stay_within_their_bounds():
    (z,) = views(1)
    one_class = np.ones((6, 1), "float32")
    first = [numpy(each) for each in mix_hard_pairs(z, one_class, seed=3)]
    again = [numpy(each) for each in mix_hard_pairs(z, one_class, seed=3)]
    for one, other in zip(first, again, strict=True):
        assert np.isfinite(one).all()
        np.testing.assert_array_equal(one, other)
    labels = numpy(mix_hard_pairs(z, np.eye(6, dtype="float32"), seed=3)[3])
    diagonal = np.diagonal(labels)
    assert np.all((diagonal <= 0.2 + 1e-6) | (diagonal > 1.0 - 1e-6))  # its own share, or mixed with itself
