"""Losses of students, teachers and clusters: SwAV, DINO, iBOT, SimDINO and masked image modelling."""

import math

import keras
import numpy as np
import pytest
from naive_softmax import unit
from shared_case import numpy, value_and_gradients

from kzoo.losses import DINO, IBOT, LearnableTemperature, MaskedImageModelling, SimDINO, SwAV
from kzoo.losses.views.swav import sinkhorn


def arrays(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype("float32")


def softmax(x):
    e = np.exp(x - x.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


def naive_sinkhorn(scores, epsilon, iterations):
    q = np.exp(scores.astype("float64") / epsilon).T
    q /= q.sum()
    for _ in range(iterations):
        q /= q.sum(axis=1, keepdims=True) * q.shape[0]
        q /= q.sum(axis=0, keepdims=True) * q.shape[1]
    return (q * q.shape[1]).T


def test_sinkhorn_balances_prototypes():
    scores = arrays(6, 3) / 3.0
    codes = numpy(sinkhorn(scores, 0.5, 50))
    np.testing.assert_allclose(codes.sum(axis=0), 2.0, rtol=1e-5)
    np.testing.assert_allclose(codes.sum(axis=1), 1.0, rtol=1e-5)
    np.testing.assert_allclose(numpy(sinkhorn(scores, 0.05, 3)), naive_sinkhorn(scores, 0.05, 3), rtol=1e-4, atol=1e-6)
    wide = 4.0 * scores  # the usual form overflows in float32
    np.testing.assert_allclose(numpy(sinkhorn(wide, 0.01, 3)), naive_sinkhorn(wide, 0.01, 3), rtol=1e-3, atol=1e-6)
    assert np.isfinite(numpy(sinkhorn(scores, 1e-4, 3))).all()


def test_small_crops_predict_but_give_no_codes():
    views, weight = arrays(3, 6, 8), np.array([1.0, 2.0, 0.0, 1.0, 1.0, 3.0], "float32")
    loss = SwAV(num_prototypes=5, dim=8, temperature=0.2, seed=0, inputs=("a", "b", "c"))
    scores = unit(views) @ unit(numpy(loss.prototypes)).T
    per_row = np.zeros(6)
    for u in (0, 1):
        codes = naive_sinkhorn(scores[u], 0.05, 3)
        for v in range(3):
            if v != u:
                per_row -= 0.25 * np.sum(codes * np.log(softmax(scores[v] / 0.2)), axis=1)
    got = loss(*views, sample_weight=weight)
    assert float(numpy(got)) == pytest.approx(np.average(per_row, weights=weight), rel=1e-4)
    assert loss.pairs(6) == (18, 5) and loss.negatives(6) == 0


def test_the_queue_of_swav_balances_codes_once_it_holds_rows():
    (a, b), (c, d) = arrays(2, 6, 8), arrays(2, 6, 8, seed=1)
    plain, queued = (SwAV(num_prototypes=5, dim=8, queue_size=size, seed=0) for size in (0, 10))
    assert float(numpy(queued(a, b, training=True))) == pytest.approx(float(numpy(plain(a, b))), rel=1e-5)
    np.testing.assert_allclose(numpy(queued.queue)[:, :6], unit(np.stack([a, b])), rtol=1e-5)
    assert numpy(queued.pointer).tolist() == [6, 6]
    scores = [unit(x) @ unit(numpy(queued.prototypes)).T for x in (a, b, c, d)]
    want = 0.0
    for old, new, other in ((scores[0], scores[2], scores[3]), (scores[1], scores[3], scores[2])):
        codes = naive_sinkhorn(np.concatenate([old, new]), 0.05, 3)[6:]
        want -= 0.5 * np.mean(np.sum(codes * np.log(softmax(other / 0.1)), axis=1))
    assert float(numpy(queued(c, d))) == pytest.approx(want, rel=1e-4)


def test_prototypes_are_trained_and_equal_rows_are_undecided():
    loss = SwAV(num_prototypes=5, dim=8, temperature=LearnableTemperature(0.1))
    assert len(loss.trainable_variables) == 2
    loss.prototypes.assign(np.ones((5, 8)))
    rows = np.ones((6, 8), "float32")
    assert float(numpy(loss(rows, rows))) == pytest.approx(math.log(5), rel=1e-5)


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


def test_ibot_counts_images_without_masks_as_0_and_centres_on_masked_patches():
    student, teacher = arrays(3, 2, 5), arrays(3, 2, 5, seed=1)
    mask = np.array([[1, 1], [0, 1], [0, 0]], "int32")
    loss = IBOT(dim=5, teacher_temperature=0.5)
    cross_entropy = -np.sum(softmax(teacher / 0.5) * np.log(softmax(student / 0.1)), axis=2)
    want = (cross_entropy[0].mean() + cross_entropy[1, 1]) / 3
    assert float(numpy(loss(student, teacher, mask=mask, training=True))) == pytest.approx(want, rel=1e-5)
    center = numpy(loss.center)
    np.testing.assert_allclose(center, 0.1 * teacher[mask.astype(bool)].mean(axis=0), rtol=1e-5, atol=1e-7)
    nothing = np.zeros((3, 2), bool)
    value, gradients = value_and_gradients(lambda s, t: loss(s, t, mask=nothing, training=True), [student, teacher])
    assert value == 0.0 and not np.any(gradients)
    np.testing.assert_allclose(numpy(loss.center), center, rtol=1e-6)


def test_one_row_of_views_is_finite():
    student, teacher = arrays(2, 1, 5), arrays(1, 1, 5, seed=1)
    for loss in (DINO(dim=5, teacher_temperature=1e-4), SimDINO()):
        value, (_, of_teacher) = value_and_gradients(loss, [student, teacher])
        assert np.isfinite(value) and not of_teacher.any()


def test_sim_dino_prefers_spread_batches():
    same, spread = np.ones((2, 4, 4), "float32"), np.stack([np.eye(4, dtype="float32")] * 2)
    assert float(numpy(SimDINO(0.5)(spread, spread))) == pytest.approx(-0.5 - 0.25 * 4 * math.log(3), rel=1e-5)
    assert float(numpy(SimDINO(0.5)(same, same))) == pytest.approx(-0.5 - 0.25 * math.log(9), rel=1e-5)


def test_masked_patches_are_weighed_by_image():
    prediction, target = arrays(3, 2, 4), arrays(3, 2, 4, seed=1)
    mask, weight = np.array([[1, 0], [1, 1], [0, 1]], "int32"), np.array([2.0, 1.0, 0.0], "float32")
    error = np.mean((prediction - target) ** 2, axis=2)
    loss = MaskedImageModelling(normalize_targets=False)
    want = (2.0 * error[0, 0] + error[1].sum()) / 4.0
    assert float(numpy(loss(prediction, target, mask=mask, sample_weight=weight))) == pytest.approx(want, rel=1e-5)
    value, (gradient, _) = value_and_gradients(
        lambda p, t: loss(p, t, mask=np.zeros((3, 2), bool)), [prediction, target]
    )
    assert value == 0.0 and not gradient.any()
    flat = MaskedImageModelling()(prediction, np.ones_like(target), mask=mask)  # a patch of one colour has no contrast
    assert float(numpy(flat)) == pytest.approx(np.mean(prediction[mask.astype(bool)] ** 2), rel=1e-5)


@pytest.mark.parametrize(
    "call, sentence",
    [
        (lambda: SwAV(4, dim=3)(arrays(2, 4), arrays(2, 4)), "SwAV has prototypes of dim=3, but received .* length 4"),
        (lambda: SwAV(iterations=0), "iterations is 0; give more than 0 and at least 1"),
        (lambda: SwAV(inputs=("one",)), "SwAV reads at least 2 tensors, but inputs names 1"),
        (lambda: DINO(dim=4)(arrays(2, 3, 5), arrays(2, 3, 5)), "DINO has dim=4 prototypes, but received heads 5 wide"),
        (lambda: DINO(dim=5)(arrays(1, 3, 5), arrays(1, 3, 5)), "DINO received 1 views of the student and 1 of the"),
        (lambda: SimDINO()(arrays(2, 3, 5), arrays(3, 3, 5)), "SimDINO received 2 views of the student and 3 of the"),
        (lambda: DINO(dim=4, teacher_temperature=0.0), "temperature is 0.0; give a positive number"),
        (lambda: IBOT(dim=4).from_tensors({"student_tokens": 0, "teacher_tokens": 0}), r"with IBOT\(mask=...\)"),
        (lambda: MaskedImageModelling()(arrays(2, 3, 1), arrays(2, 3, 1), mask=np.ones((2, 3))), "they have only 1"),
    ],
)
def test_what_cannot_be_computed_is_refused(call, sentence):
    with pytest.raises(ValueError, match=sentence):
        call()
