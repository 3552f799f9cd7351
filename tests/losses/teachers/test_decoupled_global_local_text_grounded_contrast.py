"""DecoupledGlobalLocal and its term TextGroundedContrast: loops, teachers that agree, weights, errors."""

import math

import numpy as np
import pytest
from naive_softmax import unit, value_of
from shared_case import value_and_gradients

from kzoo.losses import DecoupledGlobalLocal, HardNegativeContrastive, ImageGroundedContrast, TextGroundedContrast

ROWS, COUNT, DIM = 5, 3, 4
RANDOM = np.random.default_rng(0)
A, B, TEACHER_A, TEACHER_B = RANDOM.normal(size=(4, ROWS, DIM)).astype("float32")
NEGATIVES, TEACHER_NEGATIVES = RANDOM.normal(size=(2, ROWS, COUNT, DIM)).astype("float32")
MASK = RANDOM.random((ROWS, COUNT)) < 0.5
MASK[0], MASK[1] = False, True


def choice(x, candidates, scale):
    """Cross-entropy of the first of a list of candidates."""
    z = [scale * float(unit(x) @ unit(each)) for each in candidates]
    return math.log(sum(math.exp(each - z[0]) for each in z))


def test_grounded_contrasts_equal_a_loop_over_a_rows_own_negatives():
    for mask in (np.ones_like(MASK), MASK):
        own = [[NEGATIVES[i, n] for n in range(COUNT) if mask[i, n]] for i in range(ROWS)]
        want = np.mean([choice(B[i], [TEACHER_B[i], *own[i]], 2.0) for i in range(ROWS)])
        got = value_of(TextGroundedContrast(2.0), B, TEACHER_B, negatives=NEGATIVES, mask=mask)
        assert got == pytest.approx(want, rel=1e-6)


def test_grounded_contrasts_without_negatives_are_0():
    assert value_of(TextGroundedContrast(), B, TEACHER_B, negatives=NEGATIVES, mask=np.zeros_like(MASK)) == 0.0


def test_the_teacher_of_texts_gets_no_gradient():
    function = lambda b, teacher, n: TextGroundedContrast()(b, teacher, negatives=n)  # noqa: E731
    _, (of_b, of_teacher, of_negatives) = value_and_gradients(function, [B, TEACHER_B, NEGATIVES])
    assert np.abs(of_b).max() > 1e-3 and np.abs(of_negatives).max() > 1e-3 and not of_teacher.any()


def teachers(a=TEACHER_A, b=TEACHER_B, negatives=TEACHER_NEGATIVES):
    return {"negatives": NEGATIVES, "teacher_a": a, "teacher_b": b, "teacher_negatives": negatives}


@pytest.mark.parametrize("reduction", ["sum", "mean"])
def test_decoupled_global_local_is_the_sum_of_its_terms(reduction):
    pairs = [(A, TEACHER_A), (B, TEACHER_B), (NEGATIVES, TEACHER_NEGATIVES)]
    squares = [np.square(unit(x) - unit(teacher)) for x, teacher in pairs]
    want = (
        value_of(HardNegativeContrastive(0.2), A, B, negatives=NEGATIVES)
        + 0.3 * value_of(TextGroundedContrast(4.0), B, TEACHER_B, negatives=NEGATIVES)
        + 0.2 * value_of(ImageGroundedContrast(0.2), A, B, negatives=NEGATIVES)
        + 0.1 * sum(each.sum() if reduction == "sum" else each.mean() for each in squares)
    )
    loss = DecoupledGlobalLocal(0.2, 0.3, 0.2, 0.1, 4.0, reduction)
    assert value_of(loss, A, B, **teachers()) == pytest.approx(want, rel=1e-6)


def test_decoupled_global_local_holds_on_to_nothing_where_teacher_and_student_agree():
    agreeing = teachers(A, B, NEGATIVES)
    light, heavy = (value_of(DecoupledGlobalLocal(distill_weight=w), A, B, **agreeing) for w in (0.0, 100.0))
    assert light == pytest.approx(heavy, rel=1e-6)


@pytest.mark.parametrize("reduction", ["sum", "mean"])
def test_decoupled_global_local_weighs_the_squares_of_a_row(reduction):
    weight = np.array([1.0, 0.0, 2.0, 0.0, 1.0], "float32")
    none, whole = (
        value_of(DecoupledGlobalLocal(0.2, 0.1, 0.1, share, 10.0, reduction), A, B, **teachers(), sample_weight=weight)
        for share in (0.0, 1.0)
    )
    pairs = [(A, TEACHER_A), (B, TEACHER_B), (NEGATIVES, TEACHER_NEGATIVES)]
    of_rows = [np.square(unit(x) - unit(teacher)).reshape(ROWS, -1) for x, teacher in pairs]
    if reduction == "sum":
        want = sum((weight[:, None] * each).sum() for each in of_rows)
    else:
        want = sum((weight * each.mean(axis=1)).sum() / weight.sum() for each in of_rows)
    assert whole - none == pytest.approx(want, rel=1e-5)


def test_the_temperature_of_decoupled_global_local_is_the_heads_where_it_has_none():
    given = teachers() | {"scale": np.float32(5.0)}
    assert value_of(DecoupledGlobalLocal(), A, B, **given) == pytest.approx(
        value_of(DecoupledGlobalLocal(0.2), A, B, **teachers()), rel=1e-6
    )


@pytest.mark.parametrize(
    "build, sentence",
    [
        (lambda: TextGroundedContrast(0.0), "scale is 0.0; give a positive number"),
        (lambda: DecoupledGlobalLocal(distill_reduction="max"), "distill_reduction 'max' is unknown"),
    ],
)
def test_bad_arguments(build, sentence):
    with pytest.raises(ValueError, match=sentence):
        build()
