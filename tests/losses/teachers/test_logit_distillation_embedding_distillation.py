"""LogitDistillation and EmbeddingDistillation: their terms, where they are least, no gradient for the teacher."""

import numpy as np
import pytest
from naive_softmax import unit, value_of
from shared_case import value_and_gradients

from kzoo.losses import EmbeddingDistillation, InfoNCE, LearnableTemperature, LogitDistillation

ROWS, DIM = 5, 4
RANDOM = np.random.default_rng(0)
A, B, TEACHER_A, TEACHER_B = RANDOM.normal(size=(4, ROWS, DIM)).astype("float32")
TEACHER = {"teacher_a": TEACHER_A, "teacher_b": TEACHER_B}


def softmax(z):
    return np.exp(z) / np.exp(z).sum(axis=1, keepdims=True)


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


@pytest.mark.parametrize("build", [LogitDistillation, EmbeddingDistillation])
def test_a_temperature_may_be_learned(build):
    learned = build(LearnableTemperature(0.25))
    assert len(learned.trainable_variables) == 1
    assert value_of(learned, A, B, **TEACHER) == pytest.approx(value_of(build(0.25), A, B, **TEACHER), rel=1e-6)


@pytest.mark.parametrize(
    "call, sentence",
    [
        (lambda: EmbeddingDistillation(alpha=-0.1), r"alpha is -0.1; give a number in \[0, 1\]"),
        (
            lambda: EmbeddingDistillation()(A, B, teacher_a=TEACHER_A, teacher_b=TEACHER_B[:, :3]),
            "the teacher's embeddings have length 3 and the student's 4",
        ),
    ],
)
def test_bad_input(call, sentence):
    with pytest.raises(ValueError, match=sentence):
        call()
