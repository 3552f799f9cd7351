"""DINO against loops, its centre, its schedule, one row."""

import keras
import numpy as np
import pytest
from shared_case import numpy, value_and_gradients

from kzoo.losses import DINO


def arrays(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype("float32")


def softmax(x):
    e = np.exp(x - x.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


def test_dino_weighs_rows_and_moves_the_centre_after_the_loss():
    student, teacher = arrays(3, 6, 5), arrays(2, 6, 5, seed=1)
    weight = np.array([1.0, 2.0, 0.0, 1.0, 1.0, 3.0], "float32")
    loss = DINO(dim=5, teacher_temperature=0.5, center_momentum=0.8)
    per_row = np.zeros(6)
    for u, v in ((0, 1), (0, 2), (1, 0), (1, 2)):
        per_row -= np.sum(softmax(teacher[u] / 0.5) * np.log(softmax(student[v] / 0.1)), axis=1) / 4
    got = loss(student, teacher, sample_weight=weight, training=True)
    assert float(numpy(got)) == pytest.approx(np.average(per_row, weights=weight), rel=1e-5)
    np.testing.assert_allclose(numpy(loss.center), 0.2 * teacher.mean(axis=(0, 1)), rtol=1e-5, atol=1e-7)


def test_the_teachers_temperature_follows_a_schedule():
    student, teacher = arrays(3, 6, 5), arrays(2, 6, 5, seed=1)
    ramp = keras.optimizers.schedules.PolynomialDecay(0.1, 1, end_learning_rate=0.5)
    loss = DINO(dim=5, teacher_temperature=ramp, center_momentum=1.0)
    loss = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(loss))
    for temperature in (0.1, 0.5):
        want = float(numpy(DINO(dim=5, teacher_temperature=temperature)(student, teacher)))
        assert float(numpy(loss(student, teacher, training=True))) == pytest.approx(want, rel=1e-5)


def test_one_row_of_views_is_finite():
    student, teacher = arrays(2, 1, 5), arrays(1, 1, 5, seed=1)
    value, (_, of_teacher) = value_and_gradients(DINO(dim=5, teacher_temperature=1e-4), [student, teacher])
    assert np.isfinite(value) and not of_teacher.any()


@pytest.mark.parametrize(
    "call, sentence",
    [
        (lambda: DINO(dim=4)(arrays(2, 3, 5), arrays(2, 3, 5)), "DINO has dim=4 prototypes, but received heads 5 wide"),
        (lambda: DINO(dim=5)(arrays(1, 3, 5), arrays(1, 3, 5)), "DINO received 1 views of the student and 1 of the"),
        (lambda: DINO(dim=4, teacher_temperature=0.0), "temperature is 0.0; give a positive number"),
    ],
)
def test_what_cannot_be_computed_is_refused(call, sentence):
    with pytest.raises(ValueError, match=sentence):
        call()
