"""WeightedInfoNCE: rows without a denominator, weights that are learned, in blocks."""

import math
from functools import partial

import keras
import numpy as np
import pytest
from naive_softmax import embeddings, log_sum, unit, value_of
from shared_case import numpy, value_and_gradients

from kzoo.losses import InfoNCE, WeightedInfoNCE

T = 0.3
A, B = embeddings(6, 8)  # the shapes of the golden cases: JAX compiles each operation anew for others
EYE = np.eye(6, dtype="float32")
WEIGHT = np.array([0.0, 1.0, 2.0, 0.5, 1.0, 3.0], "float32")


def weighted_rows(w):
    a, b = unit(A), unit(B)
    rows = []
    for i in range(6):
        z = [a[i] @ b[j] / T for j in range(6)]
        kept = [z[j] + math.log(w[i, j]) for j in range(6) if w[i, j]]
        rows.append(log_sum(kept) - z[i] if kept else np.nan)
    return np.array(rows)


@pytest.mark.parametrize("block_size", [None, 4])
def test_weighted_info_nce_leaves_out_rows_without_a_denominator(block_size):
    w = np.random.default_rng(1).uniform(size=(6, 6)).astype("float32") * (1 - EYE)
    w[2] = 0.0
    rows = weighted_rows(w)
    want = np.average(np.delete(rows, 2), weights=np.delete(WEIGHT, 2))
    loss = WeightedInfoNCE(T, block_size=block_size)
    assert value_of(loss, A, B, weights=w, sample_weight=WEIGHT) == pytest.approx(want, rel=1e-5)
    want = np.average(weighted_rows(np.where(EYE > 0, 1.0, w)), weights=WEIGHT)
    loss = WeightedInfoNCE(T, positive_in_denominator=True, block_size=block_size)
    assert value_of(loss, A, B, weights=w, sample_weight=WEIGHT) == pytest.approx(want, rel=1e-5)


def test_weighted_info_nce_without_any_denominator():
    zero = np.zeros((6, 6), "float32")
    value, gradients = value_and_gradients(partial(WeightedInfoNCE(T), weights=zero), [A, B])
    assert value == 0.0 and not any(gradient.any() for gradient in gradients)


def test_the_weights_of_weighted_info_nce_can_be_learned():
    w = np.random.default_rng(1).uniform(0.5, 1.5, (6, 6)).astype("float32")
    for block_size in (None, 4):
        loss = WeightedInfoNCE(T, block_size=block_size)
        _, (got,) = value_and_gradients(lambda x, loss=loss: loss(A, B, weights=x), [w])
        z = w * np.exp(unit(A) @ unit(B).T / T)
        np.testing.assert_allclose(got, z / z.sum(axis=1, keepdims=True) / w / 6, rtol=1e-4)
    ones = np.ones((6, 6), "float32")
    assert value_of(WeightedInfoNCE(T), A, B, weights=ones) == pytest.approx(
        value_of(InfoNCE(T, direction="a_to_b"), A, B), rel=1e-6
    )


@pytest.mark.every_backend
def test_weights_are_cut_into_blocks_in_a_graph_that_knows_no_batch():
    w = np.random.default_rng(1).uniform(0.5, 1.5, (6, 6)).astype("float32")

    def function(a, b, w):
        return WeightedInfoNCE(T, block_size=4)(a, b, weights=w)

    if keras.config.backend() == "tensorflow":
        import tensorflow as tf

        function = tf.function(function, input_signature=[tf.TensorSpec([None, size]) for size in (8, 8, None)])
    elif keras.config.backend() == "jax":
        import jax

        function = jax.jit(function)
    assert float(numpy(function(A, B, w))) == pytest.approx(value_of(WeightedInfoNCE(T), A, B, weights=w), rel=1e-5)


@pytest.mark.filterwarnings("ignore:InfoNCE received a batch of one")
@pytest.mark.parametrize("positive_in_denominator", [False, True])
def test_a_batch_of_one(positive_in_denominator):
    loss = partial(WeightedInfoNCE(T, positive_in_denominator), weights=np.zeros((1, 1), "float32"))
    value, gradients = value_and_gradients(loss, [A[:1], B[:1]])
    assert value == pytest.approx(0.0, abs=1e-6)
    assert all(np.abs(gradient).max() < 1e-5 for gradient in gradients)


def test_bad_arguments():
    with pytest.raises(ValueError, match="give a positive number"):
        WeightedInfoNCE(temperature=0.0)


def test_what_it_cannot_do_without_is_asked_for():
    with pytest.raises(ValueError, match="reads 'weights', but the model and the batch give only"):
        WeightedInfoNCE().from_tensors({"view_1": A, "view_2": B})
