"""Losses against hard negatives, NegCLIP's, DeGLA's and the counting loss: double loops, invariants, masks, errors."""

import math

import numpy as np
import pytest
from naive_softmax import unit, value_of
from shared_case import value_and_gradients

from kzoo.losses import (
    CountingContrastive,
    DecoupledGlobalLocal,
    HardNegativeContrastive,
    ImageGroundedContrast,
    InfoNCE,
    TextGroundedContrast,
)

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


def naive_hard_negatives(temperature, scope, mask):
    total = 0.0
    for i in range(ROWS):
        others = [B[j] for j in range(ROWS) if j != i]
        hard = [
            NEGATIVES[j, n] for j in range(ROWS) for n in range(COUNT) if mask[j, n] and (scope == "batch" or j == i)
        ]
        total += choice(A[i], [B[i], *others, *hard], 1 / temperature)
        total += choice(B[i], [A[i], *(A[j] for j in range(ROWS) if j != i)], 1 / temperature)
    return total / (2 * ROWS)


@pytest.mark.parametrize("mask", [None, MASK], ids=["all there", "masked"])
@pytest.mark.parametrize("scope", ["batch", "own"])
def test_hard_negatives_equal_a_double_loop(scope, mask):
    got = value_of(HardNegativeContrastive(0.2, scope), A, B, negatives=NEGATIVES, mask=mask)
    want = naive_hard_negatives(0.2, scope, np.ones_like(MASK) if mask is None else mask)
    assert got == pytest.approx(want, rel=2e-6)


@pytest.mark.parametrize("scope", ["batch", "own"])
def test_blocks_give_negatives_and_scale_the_same_gradients(scope):
    def gradients(block_size):
        loss = HardNegativeContrastive(scope=scope, block_size=block_size)
        function = lambda a, b, n, scale: loss(a, b, negatives=n, mask=MASK, scale=scale)  # noqa: E731
        return value_and_gradients(function, [A, B, NEGATIVES, np.float32(5.0)])

    (whole, of_whole), (blocks, of_blocks) = gradients(None), gradients(2)
    assert blocks == pytest.approx(whole, rel=1e-6)
    for one, other in zip(of_whole, of_blocks, strict=True):
        assert np.abs(one).max() > 1e-3
        np.testing.assert_allclose(other, one, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("scope", ["batch", "own"])
def test_without_hard_negatives_it_is_info_nce(scope):
    loss, plain = HardNegativeContrastive(scope=scope), value_of(InfoNCE(), A, B)
    assert value_of(loss, A, B, negatives=NEGATIVES[:, :0]) == pytest.approx(plain, rel=1e-6)
    assert value_of(loss, A, B, negatives=NEGATIVES, mask=np.zeros_like(MASK)) == pytest.approx(plain, rel=1e-6)
    with_them = value_of(loss, A, B, negatives=NEGATIVES)
    assert with_them > plain
    assert value_of(loss, A, B, negatives=NEGATIVES[:, ::-1].copy()) == pytest.approx(with_them, rel=1e-6)


def test_one_pair_still_has_its_hard_negatives():
    got = value_of(HardNegativeContrastive(0.2), A[:1], B[:1], negatives=NEGATIVES[:1])
    assert got == pytest.approx(0.5 * choice(A[0], [B[0], *NEGATIVES[0]], 5.0), rel=1e-5)


def test_grounded_contrasts_equal_a_loop_over_a_rows_own_negatives():
    for mask in (np.ones_like(MASK), MASK):
        own = [[NEGATIVES[i, n] for n in range(COUNT) if mask[i, n]] for i in range(ROWS)]
        images = np.mean([choice(A[i], [B[i], *own[i]], 2.0) for i in range(ROWS)])
        texts = np.mean([choice(B[i], [TEACHER_B[i], *own[i]], 2.0) for i in range(ROWS)])
        given = {"negatives": NEGATIVES, "mask": mask}
        assert value_of(ImageGroundedContrast(0.5), A, B, **given) == pytest.approx(images, rel=1e-6)
        assert value_of(TextGroundedContrast(2.0), B, TEACHER_B, **given) == pytest.approx(texts, rel=1e-6)


def test_grounded_contrasts_without_negatives_are_0():
    assert value_of(ImageGroundedContrast(), A, B, negatives=NEGATIVES[:, :0]) == 0.0
    assert value_of(TextGroundedContrast(), B, TEACHER_B, negatives=NEGATIVES, mask=np.zeros_like(MASK)) == 0.0
    same = np.broadcast_to(B[:, None], NEGATIVES.shape)
    assert value_of(ImageGroundedContrast(), A, B, negatives=same) == pytest.approx(math.log(1 + COUNT), rel=1e-6)


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


def test_counting_is_grounded_contrast_with_one_negative():
    wrong = NEGATIVES[:, 0]
    want = value_of(ImageGroundedContrast(1.0), A, B, negatives=NEGATIVES[:, :1])
    assert value_of(CountingContrastive(), A, B, counterfactual=wrong) == pytest.approx(want, rel=1e-6)
    assert value_of(CountingContrastive(), A, B, counterfactual=B) == pytest.approx(math.log(2.0), rel=1e-6)
    assert value_of(CountingContrastive(1e-3), A, A, counterfactual=-A) == 0.0
    assert value_of(CountingContrastive(1e-3), A, -A, counterfactual=A) == pytest.approx(2000.0, rel=1e-5)


def test_only_samples_that_count_something_count():
    wrong, mask = NEGATIVES[:, 0], np.array([True, False, True, False, False])
    want = np.mean([choice(A[i], [B[i], wrong[i]], 1.0) for i in np.flatnonzero(mask)])
    assert value_of(CountingContrastive(), A, B, counterfactual=wrong, mask=mask) == pytest.approx(want, rel=1e-6)
    assert value_of(CountingContrastive(), A, B, counterfactual=wrong, mask=np.zeros(ROWS, bool)) == 0.0


@pytest.mark.parametrize(
    "build, sentence",
    [
        (lambda: HardNegativeContrastive(scope="all"), "scope 'all' is unknown; choose one of batch, own"),
        (lambda: TextGroundedContrast(0.0), "scale is 0.0; give a positive number"),
        (lambda: DecoupledGlobalLocal(distill_reduction="max"), "distill_reduction 'max' is unknown"),
        (lambda: CountingContrastive(-1.0), "temperature is -1.0; give a positive number"),
    ],
)
def test_bad_arguments(build, sentence):
    with pytest.raises(ValueError, match=sentence):
        build()


@pytest.mark.parametrize("loss", [HardNegativeContrastive, ImageGroundedContrast])
@pytest.mark.parametrize("negatives", [B, NEGATIVES[:4], NEGATIVES[..., :3]])
def test_negatives_of_another_shape(loss, negatives):
    with pytest.raises(ValueError, match=r"takes .*negatives as \(batch, count, dim\)"):
        loss()(A, B, negatives=negatives)
