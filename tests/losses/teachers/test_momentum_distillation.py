"""MomentumDistillation against a double loop, who is trained, the say of the teacher, errors."""

import math

import numpy as np
import pytest
from naive_softmax import unit, value_of
from shared_case import value_and_gradients

from kzoo.losses import InfoNCE, LearnableTemperature, MomentumDistillation

ROWS, QUEUE, DIM = 5, 3, 4
RANDOM = np.random.default_rng(0)
A, B, TEACHER_A, TEACHER_B = RANDOM.normal(size=(4, ROWS, DIM)).astype("float32")
QUEUE_A, QUEUE_B = RANDOM.normal(size=(2, QUEUE, DIM)).astype("float32")
IDS, QUEUE_IDS = np.array([4, 5, 4, 6, 7]), np.array([5, 9, 4])
MOMENTUM = {"a_momentum": TEACHER_A, "b_momentum": TEACHER_B}


def softmax(z):
    return np.exp(z) / np.exp(z).sum(axis=1, keepdims=True)


def naive_momentum(scale, alpha, queues, ids, queue_ids):
    """Value, and gradient of the scale with targets that stay."""
    total, slope = 0.0, 0.0
    for x, teacher, keys, queue in ((A, TEACHER_A, TEACHER_B, QUEUE_B), (B, TEACHER_B, TEACHER_A, QUEUE_A)):
        keys = np.concatenate([keys, queue]) if queues else keys
        all_ids = [*ids, *queue_ids] if queues else ids
        s = unit(x) @ unit(keys).T
        soft, p = softmax(scale * (unit(teacher) @ unit(keys).T)), softmax(scale * s)
        for i in range(ROWS):
            own = [each == ids[i] for each in all_ids]
            target = alpha * soft[i] + (1 - alpha) * np.array(own) / sum(own)
            total += sum(-t * math.log(q) for t, q in zip(target, p[i])) / (2 * ROWS)
            slope += float((p[i] - target) @ s[i]) / (2 * ROWS)
    return total, slope


@pytest.mark.parametrize(
    "given, known",
    [
        ({}, (False, range(ROWS), ())),
        ({"ids": IDS}, (False, IDS, ())),
        ({"a_queue": QUEUE_A, "b_queue": QUEUE_B}, (True, range(ROWS), [-1] * QUEUE)),
        ({"a_queue": QUEUE_A, "b_queue": QUEUE_B, "ids": IDS}, (True, IDS, [-1] * QUEUE)),
        ({"a_queue": QUEUE_A, "b_queue": QUEUE_B, "ids": IDS, "queue_ids": QUEUE_IDS}, (True, IDS, QUEUE_IDS)),
    ],
)
def test_momentum_distillation_equals_a_double_loop(given, known):
    got = value_of(MomentumDistillation(0.5, 0.3), A, B, **MOMENTUM, **given)
    assert got == pytest.approx(naive_momentum(2.0, 0.3, *known)[0], rel=1e-6)


@pytest.mark.parametrize("block_size", [None, 2])
def test_momentum_distillation_trains_the_student_and_the_scale_alone(block_size):
    loss = MomentumDistillation(alpha=0.3, block_size=block_size)

    def function(a, b, scale, a_momentum, b_momentum, a_queue, b_queue):
        keys = {"a_momentum": a_momentum, "b_momentum": b_momentum, "a_queue": a_queue, "b_queue": b_queue}
        return loss(a, b, **keys, ids=IDS, queue_ids=QUEUE_IDS, scale=scale)

    arrays = [A, B, np.float32(2.0), TEACHER_A, TEACHER_B, QUEUE_A, QUEUE_B]
    cost, (of_a, of_b, of_scale, *of_keys) = value_and_gradients(function, arrays)
    want = naive_momentum(2.0, 0.3, True, IDS, QUEUE_IDS)
    assert (cost, float(of_scale)) == pytest.approx(want, rel=1e-5)
    assert np.abs(of_a).max() > 1e-3 and np.abs(of_b).max() > 1e-3
    assert not any(gradient.any() for gradient in of_keys)


def test_momentum_distillation_without_a_say_of_the_teacher_is_info_nce():
    loss = MomentumDistillation(alpha=0.0)
    assert value_of(loss, A, B, a_momentum=A, b_momentum=B) == pytest.approx(value_of(InfoNCE(), A, B), rel=1e-6)


def test_momentum_distillation_is_linear_in_alpha():
    none, some, all_of_it = (value_of(MomentumDistillation(0.5, alpha), A, B, **MOMENTUM) for alpha in (0.0, 0.4, 1.0))
    assert some == pytest.approx(0.6 * none + 0.4 * all_of_it, rel=1e-6)


def test_a_temperature_may_be_learned():
    learned = MomentumDistillation(LearnableTemperature(0.25))
    assert len(learned.trainable_variables) == 1
    fixed = value_of(MomentumDistillation(0.25), A, B, **MOMENTUM)
    assert value_of(learned, A, B, **MOMENTUM) == pytest.approx(fixed, rel=1e-6)


@pytest.mark.parametrize(
    "call, sentence",
    [
        (lambda: MomentumDistillation(alpha=1.5), r"alpha is 1.5; give a number in \[0, 1\]"),
        (lambda: MomentumDistillation()(A, B, **MOMENTUM, a_queue=QUEUE_A), "a queue came for one side only"),
        (
            lambda: MomentumDistillation()(A, B, **MOMENTUM, queue_ids=QUEUE_IDS),
            "queue_ids came without ids",
        ),
    ],
)
def test_bad_input(call, sentence):
    with pytest.raises(ValueError, match=sentence):
        call()
