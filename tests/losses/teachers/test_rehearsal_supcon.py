"""RehearsalSupCon against a loop, with few rows, and what it needs."""

import math

import numpy as np
import pytest
from shared_case import numpy, value_and_gradients

from kzoo.losses import RehearsalSupCon

LABELS = np.array([0, 1, 0, 2, 1, 1], "int32")  # 2 stands alone


def views(count=2, rows=6, dim=8, seed=0):
    return np.random.default_rng(seed).normal(size=(count, rows, dim)).astype("float32")


def unit(x):
    return x / np.maximum(np.linalg.norm(x, axis=-1, keepdims=True), 1e-6)


def test_rehearsal_equals_a_loop_with_weights():
    student, teacher = views()
    rehearsal, weight = np.array([1, 1, 1, 0, 1, 0], "int32"), np.array([1.0, 2.0, 0.0, 1.0, 3.0, 1.0], "float32")
    s, t, total = unit(student), unit(teacher), 0.0
    for k in (0, 1, 4):
        positives = [p for p in range(6) if rehearsal[p] and LABELS[p] == LABELS[k]]
        log_sum = math.log(sum(math.exp(s[k] @ s[i] / 0.3) for i in range(6) if i != k))
        total -= weight[k] * np.mean([s[k] @ t[p] / 0.3 - log_sum for p in positives])
    loss = RehearsalSupCon(0.3)
    got = loss(student, teacher, labels=LABELS, rehearsal=rehearsal, sample_weight=weight)
    assert float(numpy(got)) == pytest.approx(total / 6.0, rel=1e-5)


@pytest.mark.parametrize("rows, rehearsed", [(6, 0), (1, 1), (2, 1)])
def test_rehearsal_of_few_rows_is_finite_and_leaves_the_teacher_alone(rows, rehearsed):
    loss, flags = RehearsalSupCon(), np.full(rows, rehearsed, "int32")
    value, (_, of_teacher) = value_and_gradients(
        lambda s, t: loss(s, t, labels=LABELS[:rows], rehearsal=flags), list(views(rows=rows))
    )
    assert np.isfinite(value) and not of_teacher.any()
    assert rehearsed or value == 0.0


def test_rehearsal_needs_its_flags():
    with pytest.raises(ValueError, match="RehearsalSupCon reads 'rehearsal', .* RehearsalSupCon\\(rehearsal=...\\)"):
        RehearsalSupCon().from_tensors({"view_1": 0, "teacher_view_1": 0, "labels": 0})
    assert RehearsalSupCon().pairs(4) == (4, 8) and RehearsalSupCon().negatives(4) == 3
