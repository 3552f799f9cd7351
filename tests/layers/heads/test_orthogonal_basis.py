"""The basis stays orthonormal whatever its weights are; the old part; what is refused."""

import numpy as np
import pytest
from shared_case import numpy

from kzoo.layers import OrthogonalBasis

X = np.random.default_rng(0).normal(size=(5, 7)).astype("float32")


def test_it_starts_as_the_identity():
    whole, old = OrthogonalBasis(old_dim=3, dim=9)(X)
    np.testing.assert_array_equal(numpy(whole), np.pad(X, ((0, 0), (0, 2))))
    np.testing.assert_array_equal(numpy(old), X[:, :3])


@pytest.mark.parametrize("scale", [0.1, 1.0, 5.0])
def test_lengths_and_angles_are_kept(scale):
    layer = OrthogonalBasis()
    layer.build((None, 7))
    layer.generator.assign(scale * np.random.default_rng(1).normal(size=(7, 7)).astype("float32"))
    matrix = numpy(layer.matrix)
    np.testing.assert_allclose(matrix @ matrix.T, np.eye(7), atol=2e-5)
    assert np.linalg.det(matrix) == pytest.approx(1.0, abs=1e-4)
    assert np.abs(matrix - np.eye(7)).max() > 0.1
    given = numpy(layer(X))
    np.testing.assert_allclose(given @ given.T, X @ X.T, rtol=1e-4, atol=1e-4)


def test_it_is_the_exponential():
    """Of one plane a turn by the angle."""
    layer = OrthogonalBasis()
    layer.build((None, 2))
    layer.generator.assign([[0.0, 0.4], [-0.3, 0.0]])
    cos, sin = np.cos(0.7), np.sin(0.7)
    np.testing.assert_allclose(numpy(layer.matrix), [[cos, sin], [-sin, cos]], atol=1e-6)


def test_channels_that_do_not_fit():
    with pytest.raises(ValueError, match="dim is 5, but the features have 7 channels"):
        OrthogonalBasis(dim=5).build((None, 7))
    with pytest.raises(ValueError, match="old_dim is 8, but the basis has 7 channels"):
        OrthogonalBasis(old_dim=8).build((None, 7))
