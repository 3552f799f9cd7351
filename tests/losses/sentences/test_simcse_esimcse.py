"""SimCSE and its form with a queue: against loops, what enters the queue, errors."""

import keras
import numpy as np
import pytest
from naive_softmax import log_sum
from shared_case import numpy, value_and_gradients

from kzoo.losses import ESimCSE, LearnableTemperature, SimCSE


def tensors(count, rows=5, dim=4, seed=0):
    return np.random.default_rng(seed).normal(size=(count, rows, dim)).astype("float32")


def value(result):
    return float(numpy(result))


def cosine(x, y):
    return float(x @ y / np.sqrt((x @ x) * (y @ y)))


def naive(a, candidates, scale, own_hard=0.0):
    values = []
    for i in range(len(a)):
        z = [scale * cosine(a[i], c) for c in candidates]
        if own_hard:
            z[len(a) + i] += own_hard
        values.append(log_sum(z) - z[i])
    return np.array(values)


def test_sim_cse_weighs_the_own_hard_negative():
    a, b, c = tensors(3)
    expected = naive(a, [*b, *c], 2.0, own_hard=0.7).mean()
    for block_size in (None, 2):
        loss = SimCSE(0.5, hard_negative_weight=0.7, block_size=block_size)
        assert value(loss(a, b, c)) == pytest.approx(expected, rel=1e-5)
    assert value(SimCSE(0.5, hard_negative_weight=0.7)(a, b)) == pytest.approx(naive(a, b, 2.0).mean(), rel=1e-5)
    assert value(SimCSE(LearnableTemperature(0.5))(a, b)) == pytest.approx(naive(a, b, 2.0).mean(), rel=1e-5)


def test_what_a_sentence_is_told_apart_from():
    assert SimCSE(inputs=("a", "b", "c")).pairs(8) == (8, 16)
    assert ESimCSE(queue_size=20, dim=4).negatives(8) == 27


def step_of(loss, batch):
    """A training step as the backend compiles it, with a batch size that TensorFlow does not know."""
    if keras.config.backend() == "jax":
        import jax

        @jax.jit
        def compiled(state, a, b, m):
            result, state = loss.stateless_call([], state, a, b, momentum=m, training=True)
            return result, state

        result, state = compiled([variable.value for variable in loss.non_trainable_variables], *batch)
        for variable, new in zip(loss.non_trainable_variables, state):
            variable.assign(new)
        return value(result)
    if keras.config.backend() == "tensorflow":
        import tensorflow as tf

        @tf.function(input_signature=[tf.TensorSpec((None, batch.shape[-1]))] * 3)
        def compiled(a, b, m):
            return loss(a, b, momentum=m, training=True)

        return value(compiled(*batch))
    return value(loss(batch[0], batch[1], momentum=batch[2], training=True))


@pytest.mark.every_backend
def test_a_queue_starts_empty_and_grows():
    loss = ESimCSE(0.5, queue_size=7, dim=4)
    past = np.zeros((0, 4), "float32")
    for seed in range(3):
        a, b, m = batch = tensors(3, seed=seed)
        expected = naive(a, [*b, *past], 2.0).mean()
        evaluated = value(loss(a, b, momentum=m))
        assert step_of(loss, batch) == pytest.approx(expected, rel=1e-5)
        assert evaluated == pytest.approx(expected, rel=1e-5)
        past = np.concatenate([past, m])[-7:]
    assert int(numpy(loss.pointer)) == 15 % 7


def test_no_gradient_goes_to_the_momentum_encoder():
    a, b, m = tensors(3)
    _, gradients = value_and_gradients(
        lambda a, b, m: ESimCSE(0.5, queue_size=7, dim=4)(a, b, momentum=m, training=True) + 0.0 * keras.ops.sum(m),
        [a, b, m],
    )
    assert np.abs(gradients[0]).max() > 0.0 and not gradients[2].any()


@pytest.mark.parametrize("rows", [1, 2])
def test_small_batches_are_finite(rows):
    a, b, c = tensors(3, rows=rows)
    result, gradients = value_and_gradients(lambda a, b: ESimCSE(queue_size=3, dim=4)(a, b, momentum=c), [a, b])
    assert np.isfinite(result) and all(np.isfinite(gradient).all() for gradient in gradients)


@pytest.mark.parametrize(
    "make, sentence",
    [
        (lambda: SimCSE(inputs=("a", "b", "c", "d")), "reads 2 to 3 tensors, but inputs names 4"),
        (lambda: SimCSE(temperature=0.0), "temperature is 0.0; give a positive number"),
        (lambda: ESimCSE(queue_size=0, dim=4), "queue_size is 0; give a whole number of at least 1"),
    ],
)
def test_bad_arguments(make, sentence):
    with pytest.raises(ValueError, match=sentence):
        make()


def test_the_missing_tensor_is_named():
    a, b = tensors(2)
    with pytest.raises(ValueError, match=r"reads 'teacher_view_1'.*ESimCSE\(momentum=...\)"):
        ESimCSE(queue_size=3, dim=4).from_tensors({"view_1": a, "view_2": b})
