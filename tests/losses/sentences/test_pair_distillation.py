"""PairDistillation: what the teacher says and does not get, large logits, errors."""

import numpy as np
import pytest
from shared_case import numpy, value_and_gradients

from kzoo.losses import PairDistillation

SCORES = np.array([0.5, 0.1, 0.9, 0.5, 0.1, 0.3], "float32")


def embeddings(rows=6, seed=0):
    return np.random.default_rng(seed).normal(size=(2, rows, 4)).astype("float32")


def value(result):
    return float(numpy(result))


def test_distillation_cuts_the_teacher_and_gives_it_no_gradient():
    student, teacher = np.array([[-2.0, 0.5, 3.0], [-0.5, 0.25, 1.5]], "float32")
    y = np.clip(teacher, 0.0, 1.0)
    p = 1.0 / (1.0 + np.exp(-student))
    expected = -(y * np.log(p) + (1.0 - y) * np.log(1.0 - p))
    weight = np.array([1.0, 2.0, 0.0], "float32")
    loss = PairDistillation()
    assert value(loss(student, teacher=teacher)) == pytest.approx(expected.mean(), rel=1e-5)
    weighted = loss(student, teacher=teacher, sample_weight=weight)
    assert value(weighted) == pytest.approx(np.average(expected, weights=weight), rel=1e-5)

    def both(student, teacher):
        return PairDistillation("mse")(student, teacher=teacher) + 0.0 * teacher[0]

    _, gradients = value_and_gradients(both, [student, teacher])
    np.testing.assert_allclose(gradients[0], 2.0 * (student - teacher) / 3.0, rtol=1e-5)
    assert not gradients[1].any()


def test_distillation_of_huge_logits_is_finite():
    student, teacher = np.array([[-1e4, 1e4], [1.0, 0.0]], "float32")
    assert value(PairDistillation()(student, teacher=teacher)) == pytest.approx(1e4)


@pytest.mark.parametrize(
    "make, sentence",
    [
        (lambda: PairDistillation("kl"), "mode 'kl' is unknown; choose one of bce, mse"),
        (lambda: PairDistillation()(*embeddings(), teacher=SCORES), "two embeddings, whose cosine is no logit"),
    ],
)
def test_bad_arguments(make, sentence):
    with pytest.raises(ValueError, match=sentence):
        make()
