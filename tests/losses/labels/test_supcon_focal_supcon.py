"""SupCon and its focal form, against loops, by invariants and edge cases."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from shared_case import numpy, value_and_gradients

from kzoo.losses import FocalSupCon, InfoNCE, LearnableTemperature, SupCon

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
