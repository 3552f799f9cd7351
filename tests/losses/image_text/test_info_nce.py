"""InfoNCE against a double loop, its invariants, its temperatures and its errors."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from shared_case import numpy, value_and_gradients

from kzoo.losses import InfoNCE, LearnableTemperature


def embeddings(rows=5, dim=4, seed=0):
    random = np.random.default_rng(seed)
    return random.normal(size=(2, rows, dim)).astype("float32")


def naive(a, b, temperature=0.07, smoothing=0.0):
    a = a / np.linalg.norm(a, axis=1, keepdims=True)
    b = b / np.linalg.norm(b, axis=1, keepdims=True)
    rows, total = len(a), 0.0
    for left, right in ((a, b), (b, a)):
        for i in range(rows):
            z = [float(left[i] @ right[j]) / temperature for j in range(rows)]
            log_sum = max(z) + math.log(sum(math.exp(v - max(z)) for v in z))
            for j in range(rows):
                target = smoothing / rows + (1.0 - smoothing) * (i == j)
                total += target * (log_sum - z[j])
    return total / (2 * rows)


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
@pytest.mark.parametrize("temperature", [0.07, 1.0])
def test_equals_a_double_loop(temperature, smoothing):
    a, b = embeddings()
    value = numpy(InfoNCE(temperature, label_smoothing=smoothing)(a, b))
    np.testing.assert_allclose(value, naive(a, b, temperature, smoothing), rtol=2e-6)


@pytest.mark.parametrize("dtype, tolerance", [("float16", 2e-3), ("bfloat16", 2e-2)])
def test_half_precision_inputs_are_computed_in_float32(dtype, tolerance):
    import keras

    a, b = embeddings()
    half = [keras.ops.cast(keras.ops.convert_to_tensor(x), dtype) for x in (a, b)]
    value = numpy(InfoNCE(0.5)(*half))
    assert value.dtype == np.float32
    np.testing.assert_allclose(value, naive(a, b, 0.5), rtol=tolerance)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 1000), rows=st.integers(2, 9), scale=st.floats(0.01, 100.0))
def test_invariants(seed, rows, scale):
    a, b = embeddings(rows, seed=seed)
    loss = InfoNCE(0.2)
    value = float(numpy(loss(a, b)))
    order = np.random.default_rng(seed).permutation(rows)
    assert value == pytest.approx(float(numpy(loss(a[order], b[order]))), rel=1e-5, abs=1e-6)
    assert value == pytest.approx(float(numpy(loss(b, a))), rel=1e-5, abs=1e-6)
    assert value == pytest.approx(float(numpy(loss(np.float32(scale) * a, b))), rel=1e-4, abs=1e-5)
    assert float(numpy(loss(np.ones_like(a), np.ones_like(a)))) == pytest.approx(math.log(rows), rel=1e-5)


def test_zero_vectors_give_finite_value_and_gradient():
    a, b = embeddings()
    a[1] = 0.0
    value, gradients = value_and_gradients(lambda x, y: InfoNCE()(x, y), [a, b])
    assert np.isfinite(value) and all(np.isfinite(gradient).all() for gradient in gradients)


def test_a_batch_of_one_says_that_nothing_is_learned():
    a, b = embeddings(1)
    with pytest.warns(UserWarning, match="a batch of one pair"):
        assert float(numpy(InfoNCE()(a, b))) == 0.0


def test_groups_equal_the_mean_over_the_groups():
    a, b = embeddings(6)
    parts = [float(numpy(InfoNCE(0.1)(a[s], b[s]))) for s in (slice(0, 3), slice(3, 6))]
    assert float(numpy(InfoNCE(0.1, groups=2)(a, b))) == pytest.approx(np.mean(parts), rel=1e-6)


def test_temperature_is_the_heads_only_where_the_loss_has_none():
    a, b = embeddings()
    scale = np.float32(3.0)
    assert float(numpy(InfoNCE()(a, b, scale=scale))) == pytest.approx(naive(a, b, 1 / 3), rel=1e-5)
    assert float(numpy(InfoNCE()(a, b))) == pytest.approx(naive(a, b, 0.07), rel=1e-5)
    assert float(numpy(InfoNCE(0.5)(a, b, scale=scale))) == pytest.approx(naive(a, b, 0.5), rel=1e-5)
    learned = InfoNCE(LearnableTemperature(0.25))
    assert float(numpy(learned(a, b, scale=scale))) == pytest.approx(naive(a, b, 0.25), rel=1e-5)
    assert len(learned.trainable_variables) == 1


@pytest.mark.parametrize(
    "arguments, sentence",
    [
        ({"direction": "up"}, "direction 'up' is unknown"),
        ({"temperature": -1.0}, "give a positive number"),
        ({"label_smoothing": 1.0}, r"give a number in \[0, 1\)"),
        ({"inputs": ("one",)}, "reads 2 tensors, but inputs names 1"),
    ],
)
def test_bad_arguments(arguments, sentence):
    with pytest.raises(ValueError, match=sentence):
        InfoNCE(**arguments)


def test_unknown_argument_is_named():
    with pytest.raises(TypeError, match="InfoNCE does not know the argument 'temprature'"):
        InfoNCE(temprature=0.1)


def test_groups_must_divide_the_batch():
    with pytest.raises(ValueError, match="a batch of 5 rows does not split into groups=2"):
        InfoNCE(groups=2)(*embeddings())
