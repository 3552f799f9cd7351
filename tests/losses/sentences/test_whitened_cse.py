"""WhitenedCSE: what whitening does, its gradient, its shuffles."""

import numpy as np
import pytest
from keras import ops
from shared_case import numpy, value_and_gradients

from kzoo.losses import MultipleNegativesRanking, WhitenedCSE
from kzoo.losses.sentences.whitened_cse import whitened


def views(count=2, rows=8, dim=6, seed=0):
    return np.random.default_rng(seed).normal(size=(count, rows, dim)).astype("float32")


def naive(x, num_groups):
    """ZCA of each group of columns, in double precision."""
    result = np.zeros(x.shape)
    for columns in np.split(np.arange(x.shape[1]), num_groups):
        group = x[:, columns].astype("float64")
        group = group - group.mean(axis=0)
        s, u = np.linalg.eigh(group.T @ group / len(x))
        result[:, columns] = group @ u @ np.diag(s**-0.5) @ u.T
    return result


def test_groups_have_unit_covariance():
    (x,) = views(1)
    white = numpy(whitened(x, num_groups=2))
    np.testing.assert_allclose(white, naive(x, 2), rtol=1e-4, atol=1e-4)
    for group in np.split(white, 2, axis=1):
        np.testing.assert_allclose(group.T @ group / len(x), np.eye(3), atol=1e-4)


def test_gradient_is_that_of_the_formula():
    x, direction = views(2)

    def projected(x):
        return (naive(x, 2) * direction).sum()

    _, (gradient,) = value_and_gradients(lambda x: ops.sum(ops.multiply(whitened(x, 2), direction)), [x])
    for place in [(0, 0), (3, 2), (7, 5)]:
        step = np.zeros(x.shape)
        step[place] = 1e-5
        expected = (projected(x.astype("float64") + step) - projected(x.astype("float64") - step)) / 2e-5
        assert gradient[place] == pytest.approx(expected, rel=1e-3, abs=1e-4)


def test_equal_eigenvalues_have_a_finite_gradient():
    x = np.array([[1, 0], [0, 1], [-1, 0], [0, -1]], "float32")  # its covariance is a multiple of the identity
    _, gradients = value_and_gradients(lambda x, y: WhitenedCSE(0.5, num_groups=1)(x, y), [x, x[::-1].copy()])
    assert all(np.isfinite(gradient).all() and gradient.any() for gradient in gradients)


@pytest.mark.parametrize("eps", [0.0, 1e-5])
@pytest.mark.parametrize("rows", [1, 2, 3])
def test_fewer_rows_than_features_are_finite(rows, eps):
    x, y = views(2, rows)
    result, gradients = value_and_gradients(lambda x, y: WhitenedCSE(num_groups=1, eps=eps)(x, y), [x, y])
    assert np.isfinite(result) and all(np.isfinite(gradient).all() for gradient in gradients)


def test_the_first_view_is_compared_with_each_other():
    a, b, c = views(3)
    white = [naive(x, 3).astype("float32") for x in (a, b, c)]
    pairs = [MultipleNegativesRanking(scale=2.0)(white[0], other) for other in white[1:]]
    expected = sum(float(numpy(pair)) for pair in pairs)
    for block_size in (None, 3):
        loss = WhitenedCSE(temperature=0.5, num_groups=3, eps=0.0, block_size=block_size)
        assert float(numpy(loss(a, b, c))) == pytest.approx(expected, rel=1e-4)


def test_features_are_shuffled_in_training_alone():
    a, b = views(2)
    loss = WhitenedCSE(temperature=0.5, num_groups=3, seed=1)
    assert float(numpy(loss(a, b))) == float(numpy(loss(a, b)))
    drawn = {float(numpy(loss(a, b, training=True))) for _ in range(4)}
    assert len(drawn) > 1
    order = np.tile(np.arange(6), (2, 1))
    assert float(numpy(loss(a, b, permutations=order, training=True))) == pytest.approx(
        float(numpy(loss(a, b))), rel=1e-5
    )


def test_groups_must_divide_the_features():
    with pytest.raises(ValueError, match="6 features do not split into num_groups=4; choose a divisor"):
        WhitenedCSE(num_groups=4)(*views(2))
