"""SupCon, its focal and rehearsal forms and the mixing of hard pairs, against loops, by invariants and edge cases."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from shared_case import numpy, value_and_gradients

from kzoo.losses import FocalSupCon, InfoNCE, LearnableTemperature, RehearsalSupCon, SupCon, mix_hard_pairs

LABELS = np.array([0, 1, 0, 2, 1, 1], "int32")  # 2 stands alone


def views(count=2, rows=6, dim=8, seed=0):
    return np.random.default_rng(seed).normal(size=(count, rows, dim)).astype("float32")


def unit(x):
    return x / np.maximum(np.linalg.norm(x, axis=-1, keepdims=True), 1e-6)


def naive(z, mask, weight, temperature, focal=False):
    z, total, weights = unit(z), 0.0, 0.0
    for i in range(len(z)):
        others = [j for j in range(len(z)) if j != i]
        positives = [j for j in others if mask[i, j] > 0]
        if not positives:
            continue
        log_sum = math.log(sum(math.exp(z[i] @ z[k] / temperature) for k in others))
        value = 0.0
        for j in positives:
            log_p = z[i] @ z[j] / temperature - log_sum
            value -= mask[i, j] * log_p * (1.0 - math.exp(log_p) if focal else 1.0)
        total += weight[i] * value / sum(mask[i, j] for j in positives)
        weights += weight[i]
    return total / weights


@pytest.mark.parametrize("block_size", [None, 2])
@pytest.mark.parametrize("loss_class", [SupCon, FocalSupCon])
def test_equal_a_double_loop_with_soft_masks_and_weights(loss_class, block_size):
    a, b = views()
    mask = np.random.default_rng(1).uniform(size=(6, 6)).astype("float32")
    mask[2] = 0.0  # no positive
    weight = np.array([1.0, 0.0, 2.0, 0.5, 1.0, 3.0], "float32")
    loss = loss_class(0.3, block_size=block_size)
    want = naive(np.concatenate([a, b]), np.tile(mask, (2, 2)), np.tile(weight, 2), 0.3, loss_class is FocalSupCon)
    assert float(numpy(loss(a, b, mask=mask, sample_weight=weight))) == pytest.approx(want, rel=1e-5)
    same = LABELS[:, None] == LABELS[None]
    want = naive(a, same, weight, 0.3, loss_class is FocalSupCon)
    assert float(numpy(loss(a, labels=LABELS, sample_weight=weight))) == pytest.approx(want, rel=1e-5)
    assert float(numpy(loss(a, mask=same))) == pytest.approx(float(numpy(loss(a, labels=LABELS))), rel=1e-6)


@settings(max_examples=5, deadline=None)
@given(seed=st.integers(0, 1000), scale=st.floats(0.01, 100.0))
def test_order_lengths_and_names_of_classes_do_not_matter(seed, scale):
    a, b = views(seed=seed)
    order = np.random.default_rng(seed).permutation(6)
    for loss in (SupCon(0.2), FocalSupCon(0.2)):
        value = float(numpy(loss(a, b, labels=LABELS)))
        changed = loss(np.float32(scale) * a[order], b[order], labels=7 - LABELS[order])
        assert float(numpy(changed)) == pytest.approx(value, rel=1e-4)


def test_focal_is_never_above_the_plain_loss():
    a, b = views()
    plain, focal = SupCon(0.2)(a, b, labels=LABELS), FocalSupCon(0.2)(a, b, labels=LABELS)
    assert 0.0 < float(numpy(focal)) < float(numpy(plain))


def test_base_temperature_scales_the_loss():
    a, b = views()
    value = float(numpy(SupCon(0.2)(a, b)))
    assert float(numpy(SupCon(0.2, base_temperature=0.1)(a, b))) == pytest.approx(2.0 * value, rel=1e-5)
    learned = SupCon(LearnableTemperature(0.2), base_temperature=0.1)
    assert float(numpy(learned(a, b))) == pytest.approx(2.0 * value, rel=1e-5)
    assert len(learned.trainable_variables) == 1


@pytest.mark.parametrize(
    "loss_class, rows, labels",
    [(SupCon, 6, np.arange(6)), (FocalSupCon, 6, np.zeros(6, int)), (SupCon, 1, [3]), (FocalSupCon, 2, [1, 1])],
    ids=["none", "all", "1", "2"],
)
def test_no_and_only_positives_are_finite(loss_class, rows, labels):
    (a,) = views(1, rows)
    loss, labels = loss_class(0.01), np.array(labels, "int32")
    value, (gradient,) = value_and_gradients(lambda x: loss(x, labels=labels), [a])
    assert np.isfinite(value) and np.isfinite(gradient).all()
    if len(set(labels)) == rows or rows == 2:  # nothing to find, or nothing else to choose
        assert value == 0.0 and not gradient.any()


def test_a_mask_of_false_gives_0():
    value, gradients = value_and_gradients(lambda a, b: SupCon()(a, b, mask=np.zeros((6, 6), bool)), list(views()))
    assert value == 0.0 and not np.any(gradients)


@pytest.mark.parametrize(
    "arguments, sentence",
    [
        ({}, "SupCon received one view without labels or mask"),
        ({"labels": LABELS, "mask": np.eye(6)}, "SupCon received labels and mask; give one"),
        ({"mask": np.ones((6, 4))}, r"mask as \(batch, batch\), but got a \(6, 8\) and mask \(6, 4\)"),
    ],
)
def test_what_says_no_positives_is_refused(arguments, sentence):
    with pytest.raises(ValueError, match=sentence):
        SupCon()(views(1)[0], **arguments)


def test_a_base_temperature_of_0_is_refused():
    with pytest.raises(ValueError, match="base_temperature is 0.0; give a positive number"):
        SupCon(base_temperature=0.0)


def test_one_or_two_views_are_read_by_name():
    a, b = views()
    tensors = {"view_1": a, "view_2": b, "image_embeddings": a, "text_embeddings": b, "species": LABELS}
    both = 0.5 * SupCon(inputs=("view_1", "view_2"), labels="species") + InfoNCE()
    want = 0.5 * float(numpy(SupCon()(a, b, labels=LABELS))) + float(numpy(InfoNCE()(a, b)))
    assert float(numpy(both.from_tensors(tensors)[0])) == pytest.approx(want, rel=1e-6)
    one = SupCon(inputs=("view_1",), labels="species")
    assert float(numpy(one.from_tensors(tensors)[0])) == pytest.approx(
        float(numpy(SupCon()(a, labels=LABELS))), rel=1e-6
    )
    assert one.pairs(6) == (6, 6) and SupCon().negatives(6) == 11
    with pytest.raises(ValueError, match="SupCon reads 1 to 2 tensors, but inputs names 3"):
        SupCon(inputs=("a", "b", "c"))


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
        RehearsalSupCon().from_tensors({"student": 0, "teacher": 0, "labels": 0})
    assert RehearsalSupCon().pairs(4) == (4, 8) and RehearsalSupCon().negatives(4) == 3


def test_hard_pairs_equal_a_loop():
    (z,) = views(1)
    y = np.eye(3, dtype="float32")[LABELS]
    lam = np.array([0.1, 0.9, 0.5, 0.3, 0.7, 0.6], "float32")
    permutation = np.array([4, 2, 3, 5, 1, 0])
    cosine = unit(z) @ unit(z).T
    got = [numpy(each) for each in mix_hard_pairs(z, y, lam, 0.8, permutation)]
    for i in range(6):
        positive = min((j for j in range(6) if LABELS[j] == LABELS[i]), key=lambda j: cosine[i, j])
        negative = max((j for j in range(6) if LABELS[j] != LABELS[i]), key=lambda j: cosine[i, j])
        for x, mixed, hard in ((z, got[0], got[2]), (y, got[1], got[3])):
            np.testing.assert_allclose(
                mixed[i], lam[i] * x[positive] + (1 - lam[i]) * x[negative], rtol=1e-5, atol=1e-6
            )
            np.testing.assert_allclose(hard[i], 0.2 * x[i] + 0.8 * x[permutation[i]], rtol=1e-5, atol=1e-6)


def test_hard_pairs_that_are_drawn_stay_within_their_bounds():
    (z,) = views(1)
    one_class = np.ones((6, 1), "float32")
    first = [numpy(each) for each in mix_hard_pairs(z, one_class, seed=3)]
    again = [numpy(each) for each in mix_hard_pairs(z, one_class, seed=3)]
    for one, other in zip(first, again, strict=True):
        assert np.isfinite(one).all()
        np.testing.assert_array_equal(one, other)
    labels = numpy(mix_hard_pairs(z, np.eye(6, dtype="float32"), seed=3)[3])
    diagonal = np.diagonal(labels)
    assert np.all((diagonal <= 0.2 + 1e-6) | (diagonal > 1.0 - 1e-6))  # its own share, or mixed with itself
