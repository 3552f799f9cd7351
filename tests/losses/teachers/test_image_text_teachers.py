"""Losses with a teacher: ALBEF's, LogitDistillation, EmbeddingDistillation; loops, gradients, weights, errors."""

import math

import numpy as np
import pytest
from golden_case import built, called_with, parametrized
from naive_softmax import unit, value_of
from shared_case import value_and_gradients

from kzoo.losses import (
    EmbeddingDistillation,
    ImageTextMatching,
    InfoNCE,
    LearnableTemperature,
    LogitDistillation,
    MomentumDistillation,
)

ROWS, QUEUE, DIM = 5, 3, 4
RANDOM = np.random.default_rng(0)
A, B, TEACHER_A, TEACHER_B = RANDOM.normal(size=(4, ROWS, DIM)).astype("float32")
QUEUE_A, QUEUE_B = RANDOM.normal(size=(2, QUEUE, DIM)).astype("float32")
IDS, QUEUE_IDS = np.array([4, 5, 4, 6, 7]), np.array([5, 9, 4])
MOMENTUM = {"a_momentum": TEACHER_A, "b_momentum": TEACHER_B}
TEACHER = {"teacher_a": TEACHER_A, "teacher_b": TEACHER_B}


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


def test_logit_distillation_of_a_teacher_of_another_length():
    teacher_a, teacher_b = RANDOM.normal(size=(2, ROWS, 6)).astype("float32")
    z, t = 2.0 * (unit(A) @ unit(B).T), 4.0 * (unit(teacher_a) @ unit(teacher_b).T)
    want = -sum((softmax(one) * np.log(softmax(other))).sum() for one, other in ((t, z), (t.T, z.T))) / (2 * ROWS)
    got = value_of(LogitDistillation(0.5, 0.25), A, B, teacher_a=teacher_a, teacher_b=teacher_b)
    assert got == pytest.approx(want, rel=1e-6)


@pytest.mark.parametrize("block_size", [None, 2])
def test_logit_distillation_is_at_its_least_where_student_and_teacher_agree(block_size):
    loss = LogitDistillation(teacher_temperature=0.2, block_size=block_size)

    def function(a, b, scale, teacher_a, teacher_b):
        return loss(a, b, teacher_a=teacher_a, teacher_b=teacher_b, scale=scale)

    entropy, gradients = value_and_gradients(function, [A, B, np.float32(5.0), A, B])
    assert all(np.abs(gradient).max() < 1e-6 for gradient in gradients)
    cost, gradients = value_and_gradients(function, [A, B, np.float32(4.0), A, B])
    assert cost > entropy
    moved = [value_of(loss, A, B, teacher_a=A, teacher_b=B, scale=np.float32(scale)) for scale in (4.01, 3.99)]
    assert float(gradients[2]) == pytest.approx((moved[0] - moved[1]) / 0.02, rel=1e-2)
    assert not gradients[3].any() and not gradients[4].any()


def test_embedding_distillation_blends_two_terms():
    contrast = value_of(InfoNCE(0.2), A, B)
    distances = [1.0 - (unit(x) * unit(t)).sum(axis=1).mean() for x, t in ((A, TEACHER_A), (B, TEACHER_B))]
    for alpha in (0.0, 0.3, 1.0):
        want = (1 - alpha) * contrast + alpha * sum(distances) / 2
        assert value_of(EmbeddingDistillation(0.2, alpha), A, B, **TEACHER) == pytest.approx(want, rel=1e-6)
    agreeing = value_of(EmbeddingDistillation(0.2, 0.3), A, B, teacher_a=3.0 * A, teacher_b=B)
    assert agreeing == pytest.approx(0.7 * contrast, rel=1e-6)


def test_embedding_distillation_gives_the_teacher_no_gradient():
    function = lambda a, b, x, y: EmbeddingDistillation()(a, b, teacher_a=x, teacher_b=y)  # noqa: E731
    _, (of_a, _, *of_teacher) = value_and_gradients(function, [A, B, TEACHER_A, TEACHER_B])
    assert np.abs(of_a).max() > 1e-3 and not any(gradient.any() for gradient in of_teacher)


@pytest.mark.parametrize("build", [MomentumDistillation, LogitDistillation, EmbeddingDistillation])
def test_a_temperature_may_be_learned(build):
    teacher = MOMENTUM if build is MomentumDistillation else TEACHER
    learned = build(LearnableTemperature(0.25))
    assert len(learned.trainable_variables) == 1
    assert value_of(learned, A, B, **teacher) == pytest.approx(value_of(build(0.25), A, B, **teacher), rel=1e-6)


def test_matching():
    logits, labels = RANDOM.normal(size=(6, 2)).astype("float32"), np.array([1, 0, 0, 1, 1, 0])
    costs = -np.log(softmax(logits.astype("float64")))[np.arange(6), labels]
    weight = np.array([1, 0, 2, 1, 0, 3], "float32")
    assert value_of(ImageTextMatching(), logits, labels) == pytest.approx(costs.mean(), rel=1e-6)
    weighted = value_of(ImageTextMatching(), logits, labels, sample_weight=weight)
    assert weighted == pytest.approx((weight * costs).sum() / 7.0, rel=1e-6)


WEIGHTED = (
    "CountingContrastive DecoupledSoftmax HardNegativeContrastive ImageGroundedContrast TextGroundedContrast SoftTopK "
    "MultiLabelClusterDiscrimination PrototypeContrastive MomentumDistillation LogitDistillation EmbeddingDistillation"
).split()


@pytest.mark.parametrize("name", WEIGHTED)
def test_weights_of_samples_weigh_what_the_samples_cost(name):
    _, case = next(parameter.values for parameter in parametrized() if parameter.values[0] == name)
    args, kwargs = called_with(case)
    loss, rows = built(name, case), len(args[0])
    first = np.eye(rows, dtype="float32")[0]
    whole, equal, one, rest, doubled = (
        value_of(loss, *args, **kwargs, **({} if weight is None else {"sample_weight": weight}))
        for weight in (None, 0.5 + 0.0 * first, first, 1.0 - first, 1.0 + first)
    )
    assert equal == pytest.approx(whole, rel=1e-6)
    assert one + (rows - 1) * rest == pytest.approx(rows * whole, rel=1e-5)
    assert doubled == pytest.approx((rows * whole + one) / (rows + 1), rel=1e-5)


@pytest.mark.parametrize(
    "call, sentence",
    [
        (lambda: MomentumDistillation(alpha=1.5), r"alpha is 1.5; give a number in \[0, 1\]"),
        (lambda: EmbeddingDistillation(alpha=-0.1), r"alpha is -0.1; give a number in \[0, 1\]"),
        (lambda: MomentumDistillation()(A, B, **MOMENTUM, a_queue=QUEUE_A), "a queue came for one side only"),
        (
            lambda: MomentumDistillation()(A, B, **MOMENTUM, queue_ids=QUEUE_IDS),
            "queue_ids came without ids",
        ),
        (
            lambda: EmbeddingDistillation()(A, B, teacher_a=TEACHER_A, teacher_b=TEACHER_B[:, :3]),
            "the teacher's embeddings have length 3 and the student's 4",
        ),
        (
            lambda: ImageTextMatching()(np.zeros((3, 1)), np.zeros(3, "int32")),
            r"logits as \(pairs, 2\), but got logits \(3, 1\)",
        ),
    ],
)
def test_bad_input(call, sentence):
    with pytest.raises(ValueError, match=sentence):
        call()
