"""Noise on embeddings: its statistics, where it is and where it is not; tokens made of an embedding."""

import keras
import numpy as np
import pytest
from shared_case import numpy, value_and_gradients

from kzoo.layers import EmbeddingMemory, GaussianEmbeddingNoise

X = np.random.default_rng(0).normal(size=(4000, 16)).astype("float32")
UNIT = X / np.linalg.norm(X, axis=1, keepdims=True)


def test_there_is_none_in_inference():
    noise = GaussianEmbeddingNoise(0.5)
    for arguments in ({}, {"training": False}):
        np.testing.assert_allclose(numpy(noise(X, **arguments)), UNIT, atol=1e-6)


def test_no_deviation_is_no_noise():
    np.testing.assert_allclose(numpy(GaussianEmbeddingNoise(0.0)(X, training=True)), UNIT, atol=1e-6)


def test_statistics():
    """Unit length, and a mean cosine as numpy's own noise gives it; without direction, and anew at each call."""
    noise = GaussianEmbeddingNoise(0.2)
    first, second = (numpy(noise(X, training=True)) for _ in range(2))
    np.testing.assert_allclose(np.linalg.norm(first, axis=1), 1.0, atol=1e-6)
    drawn = UNIT + 0.2 * np.random.default_rng(1).normal(size=X.shape)
    drawn /= np.linalg.norm(drawn, axis=1, keepdims=True)
    cosines = [np.sum(each * UNIT, axis=1) for each in (first, second, drawn)]
    for each in cosines[:2]:
        assert each.mean() == pytest.approx(cosines[2].mean(), abs=0.01)
        assert each.std() == pytest.approx(cosines[2].std(), abs=0.01)
    moved = first - cosines[0][:, None] * UNIT
    assert np.abs(moved.mean(axis=0)).max() < 0.02
    assert np.abs(first - second).max() > 0.1


def test_a_seed_is_a_sequence():
    draws = [numpy(GaussianEmbeddingNoise(0.2, seed=seed)(X, training=True)) for seed in (3, 3, 4)]
    np.testing.assert_array_equal(draws[0], draws[1])
    assert np.abs(draws[0] - draws[2]).max() > 0.1


def test_half_precision_in_float32_out():
    noise = GaussianEmbeddingNoise(0.1, dtype="mixed_bfloat16")
    result = noise(keras.ops.cast(X[:2], "bfloat16"), training=True)
    assert keras.backend.standardize_dtype(result.dtype) == "float32"


def test_gradient_is_finite_at_zero():
    noise = GaussianEmbeddingNoise(0.1)
    for training in (True, False):
        _, (gradient,) = value_and_gradients(
            lambda x, training=training: keras.ops.sum(noise(x, training=training)), [np.zeros((2, 4), "float32")]
        )
        assert np.all(np.isfinite(gradient))


def test_bad_deviation():
    with pytest.raises(ValueError, match="stddev is -0.1; give a number of at least 0"):
        GaussianEmbeddingNoise(-0.1)


def test_tokens_are_parts_of_a_linear_layer():
    memory = EmbeddingMemory(num_tokens=3, width=5)
    tokens = numpy(memory(UNIT))
    kernel = numpy(memory.projection.kernel)
    for token in range(3):
        np.testing.assert_allclose(tokens[:, token], UNIT @ kernel[:, 5 * token : 5 * token + 5], atol=1e-5)
    assert tokens.std() == pytest.approx(1.0, abs=0.3)
