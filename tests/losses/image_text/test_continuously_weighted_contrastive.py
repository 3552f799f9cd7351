"""ContinuouslyWeightedContrastive: weights that are given, weights of a reference, no gradient through them."""

import keras
import numpy as np
import pytest
from naive_softmax import embeddings, row_losses, value_of
from shared_case import numpy, value_and_gradients

from kzoo.losses import ContinuouslyWeightedContrastive

T = 0.3
A, B = embeddings(6, 8)  # the shapes of the golden cases: JAX compiles each operation anew for others
EYE = np.eye(6, dtype="float32")
WEIGHT = np.array([0.0, 1.0, 2.0, 0.5, 1.0, 3.0], "float32")


def both(rows, columns):
    return np.average((rows + columns) / 2, weights=WEIGHT)


@pytest.mark.parametrize("weighted", ["a_to_b", "b_to_a", "both"])
@pytest.mark.parametrize("block_size", [None, 4])
def test_given_weights_of_continuously_weighted(weighted, block_size):
    w = np.random.default_rng(1).uniform(size=(6, 6)).astype("float32")
    w[2] = 0.0
    spread = w / np.maximum(w.sum(axis=1, keepdims=True), 1e-12)  # of anchor i: how much sample j is like it
    rows = row_losses(A, B, T, EYE if weighted == "b_to_a" else spread)
    columns = row_losses(B, A, T, EYE if weighted == "a_to_b" else spread)
    loss = ContinuouslyWeightedContrastive(T, weighted, block_size)
    got = value_of(loss, A, B, weights=w, sample_weight=WEIGHT)
    assert got == pytest.approx(both(rows, columns), rel=1e-5)


def test_a_rotated_reference_says_the_same():
    reference = embeddings(6, 8, count=1, seed=5)[0]
    rotation = np.linalg.qr(np.random.default_rng(2).normal(size=(8, 8)))[0].astype("float32")
    loss = ContinuouslyWeightedContrastive(T)
    value = value_of(loss, A, B, reference=reference)
    assert value_of(loss, A, B, reference=reference @ rotation) == pytest.approx(value, rel=1e-5)


def test_nothing_is_learned_through_the_targets():
    loss = ContinuouslyWeightedContrastive(T, "both")
    for keyword, array in (("weights", EYE + 0.5), ("reference", A)):

        def function(x, keyword=keyword):
            return loss(A, B, **{keyword: x}) + 0.0 * keras.ops.sum(x)  # tape and graph know x

        _, (gradient,) = value_and_gradients(function, [array])
        assert not gradient.any()


@pytest.mark.every_backend
def test_weights_are_cut_into_blocks_in_a_graph_that_knows_no_batch():
    w = np.random.default_rng(1).uniform(0.5, 1.5, (6, 6)).astype("float32")

    def function(a, b, w):
        return ContinuouslyWeightedContrastive(T, block_size=4)(a, b, weights=w)

    if keras.config.backend() == "tensorflow":
        import tensorflow as tf

        function = tf.function(function, input_signature=[tf.TensorSpec([None, size]) for size in (8, 8, None)])
    elif keras.config.backend() == "jax":
        import jax

        function = jax.jit(function)
    assert float(numpy(function(A, B, w))) == pytest.approx(
        value_of(ContinuouslyWeightedContrastive(T), A, B, weights=w), rel=1e-5
    )


@pytest.mark.filterwarnings("ignore:InfoNCE received a batch of one")
def test_a_batch_of_one():
    value, gradients = value_and_gradients(ContinuouslyWeightedContrastive(T), [A[:1], B[:1]])
    assert value == pytest.approx(0.0, abs=1e-6)
    assert all(np.abs(gradient).max() < 1e-5 for gradient in gradients)


def test_temperatures_of_the_models_head():
    want = value_of(ContinuouslyWeightedContrastive(0.25), A, B)
    assert value_of(ContinuouslyWeightedContrastive(), A, B, scale=np.float32(4.0)) == pytest.approx(want, rel=1e-6)
    assert value_of(ContinuouslyWeightedContrastive(), A, B) == pytest.approx(
        value_of(ContinuouslyWeightedContrastive(0.07), A, B), rel=1e-6
    )


def test_bad_arguments():
    with pytest.raises(ValueError, match="weighted 'a' is unknown; choose one of both, a_to_b, b_to_a"):
        ContinuouslyWeightedContrastive(weighted="a")
