"""Losses in which a sentence picks its own among candidates: against loops, invariants, queues, errors."""

import math

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from naive_softmax import log_sum
from shared_case import numpy, value_and_gradients

from kzoo.losses import (
    AdversarialPairs,
    ESimCSE,
    LearnableTemperature,
    MultipleNegativesRanking,
    SimCSE,
    SoftContrastive,
)


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


def test_multiple_negatives_equal_a_double_loop():
    a, b, c, d = tensors(4)
    d = d[:3]  # negatives may be any number
    forward, back = naive(a, [*b, *c, *d], 20.0), naive(b, a, 20.0)
    assert value(MultipleNegativesRanking()(a, b, c, d)) == pytest.approx(forward.mean(), rel=1e-5)
    both = MultipleNegativesRanking(symmetric=True)
    assert value(both(a, b, c, d)) == pytest.approx((forward + back).mean() / 2, rel=1e-5)
    blocks = MultipleNegativesRanking(symmetric=True, block_size=2)
    weight = np.array([1.0, 0.0, 2.0, 0.5, 1.0], "float32")
    for loss in (both, blocks):  # a row of weight 0 still is a negative
        expected = np.average((forward + back) / 2, weights=weight)
        assert value(loss(a, b, c, d, sample_weight=weight)) == pytest.approx(expected, rel=1e-5)


@settings(max_examples=5, deadline=None)
@given(seed=st.integers(0, 1000), scale=st.floats(0.01, 100.0))
def test_multiple_negatives_invariants(seed, scale):
    a, b = tensors(2, seed=seed)
    loss = MultipleNegativesRanking(5.0)
    order = np.random.default_rng(seed).permutation(len(a))
    expected = pytest.approx(value(loss(a, b)), rel=1e-4, abs=1e-5)
    assert value(loss(a[order], b[order])) == expected
    assert value(loss(np.float32(scale) * a, b)) == expected
    assert value(loss(np.ones_like(a), np.ones_like(a), np.ones_like(a))) == pytest.approx(math.log(10), rel=1e-5)


def test_sim_cse_weighs_the_own_hard_negative():
    a, b, c = tensors(3)
    expected = naive(a, [*b, *c], 2.0, own_hard=0.7).mean()
    for block_size in (None, 2):
        loss = SimCSE(0.5, hard_negative_weight=0.7, block_size=block_size)
        assert value(loss(a, b, c)) == pytest.approx(expected, rel=1e-5)
    assert value(SimCSE(0.5, hard_negative_weight=0.7)(a, b)) == pytest.approx(naive(a, b, 2.0).mean(), rel=1e-5)
    assert value(SimCSE(LearnableTemperature(0.5))(a, b)) == pytest.approx(naive(a, b, 2.0).mean(), rel=1e-5)


def test_what_a_sentence_is_told_apart_from():
    assert MultipleNegativesRanking().negatives(8) == 7
    assert MultipleNegativesRanking(inputs=("a", "b", "c", "d")).negatives(8) == 23
    assert SimCSE(inputs=("a", "b", "c")).pairs(8) == (8, 16)
    assert ESimCSE(queue_size=20, dim=4).negatives(8) == 27
    assert AdversarialPairs().negatives(8) == 8


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


def test_soft_targets_are_those_of_the_labels():
    a, b, labels = tensors(3)
    weight = np.array([1.0, 0.0, 2.0, 0.5, 1.0], "float32")
    values = []
    for left, right in ((a, b), (b, a)):
        for i in range(5):
            resemblance = [cosine(labels[i], label) / 0.35 for label in labels]
            target = [math.exp(r - log_sum(resemblance)) for r in resemblance]
            z = [cosine(left[i], other) / 0.1 for other in right]
            values.append(log_sum(z) - sum(t * v for t, v in zip(target, z)))
    values = np.array(values).reshape(2, 5)
    for symmetric, expected in ((True, values.mean(axis=0)), (False, values[0])):
        result = SoftContrastive(0.1, symmetric=symmetric)(a, b, label_embeddings=labels, sample_weight=weight)
        assert value(result) == pytest.approx(np.average(expected, weights=weight), rel=1e-5)


def test_targets_of_labels_have_no_gradient_and_may_all_be_equal():
    a, b, labels = tensors(3)
    labels[:] = labels[:1]

    def loss(a, labels):
        return SoftContrastive()(a, b, label_embeddings=labels) + 0.0 * keras.ops.sum(labels)

    result, gradients = value_and_gradients(loss, [a, labels])
    assert np.isfinite(result) and np.isfinite(gradients[0]).all() and not gradients[1].any()


def test_adversarial_pairs_with_copies_of_the_target():
    source, target = tensors(2)
    z = np.array([[cosine(s, t) / 0.5 for t in target] for s in source])
    expected = np.mean([log_sum([*z[i], z[i, i]]) - z[i, i] for i in range(5)])
    result = AdversarialPairs(0.5)(source, target, imposter=target, distant=target)
    assert value(result) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("rows", [1, 2])
def test_small_batches_are_finite(rows):
    a, b, c = tensors(3, rows=rows)
    losses = {
        "ranking": lambda a, b: MultipleNegativesRanking(symmetric=True)(a, b),
        "queue": lambda a, b: ESimCSE(queue_size=3, dim=4)(a, b, momentum=c),
        "soft": lambda a, b: SoftContrastive()(a, b, label_embeddings=c),
        "adversarial": lambda a, b: AdversarialPairs(1e-3)(a, b, imposter=c, distant=c),
    }
    for loss in losses.values():
        result, gradients = value_and_gradients(loss, [a, b])
        assert np.isfinite(result) and all(np.isfinite(gradient).all() for gradient in gradients)
    if rows == 1:
        assert value(losses["ranking"](a, b)) == pytest.approx(0.0, abs=1e-6)


@pytest.mark.parametrize(
    "make, sentence",
    [
        (lambda: MultipleNegativesRanking(scale=0.0), "scale is 0.0; give a positive number"),
        (lambda: MultipleNegativesRanking(inputs=("a",)), "reads at least 2 tensors, but inputs names 1"),
        (lambda: SimCSE(inputs=("a", "b", "c", "d")), "reads 2 to 3 tensors, but inputs names 4"),
        (lambda: SimCSE(temperature=0.0), "temperature is 0.0; give a positive number"),
        (lambda: ESimCSE(queue_size=0, dim=4), "queue_size is 0; give a positive whole number"),
        (lambda: SoftContrastive(label_temperature=-1.0), "label_temperature is -1.0; give a positive number"),
    ],
)
def test_bad_arguments(make, sentence):
    with pytest.raises(ValueError, match=sentence):
        make()


def test_the_missing_tensor_is_named():
    a, b = tensors(2)
    with pytest.raises(ValueError, match=r"reads 'momentum'.*ESimCSE\(momentum=...\)"):
        ESimCSE(queue_size=3, dim=4).from_tensors({"view_1": a, "view_2": b})
