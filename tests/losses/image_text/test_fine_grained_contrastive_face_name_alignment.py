"""FineGrainedContrastive and FaceNameAlignment: bags of vectors, with masks, against loops."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from naive_softmax import value_of
from shared_case import numpy, value_and_gradients

from kzoo.losses import FaceNameAlignment, FineGrainedContrastive, InfoNCE

random = np.random.default_rng(0)


def bags(rows=3, sizes=(4, 3), dim=5, seed=0):
    draw = np.random.default_rng(seed)
    a, b = (draw.normal(size=(rows, size, dim)).astype("float32") for size in sizes)
    masks = [draw.random((rows, size)) < 0.6 for size in sizes]
    for mask in masks:
        mask[:, 0] = True
    return a, b, *masks


def scores(x, y, x_mask, y_mask):
    x, y = (v / np.linalg.norm(v, axis=-1, keepdims=True) for v in (x.astype("float64"), y.astype("float64")))
    result = np.zeros((len(x), len(y)))
    for i in range(len(x)):
        for j in range(len(y)):
            others = [q for q in range(y.shape[1]) if y_mask[j, q]]
            best = [max(x[i, p] @ y[j, q] for q in others) for p in range(x.shape[1]) if x_mask[i, p]]
            result[i, j] = np.mean(best)
    return result


def cross_entropy(z):
    return np.mean([math.log(sum(math.exp(v) for v in row)) - row[i] for i, row in enumerate(z)])


def test_filip_equals_loops():
    a, b, a_mask, b_mask = bags()
    rows = cross_entropy(scores(a, b, a_mask, b_mask) / 0.2)
    columns = cross_entropy(scores(b, a, b_mask, a_mask) / 0.2)
    got = value_of(FineGrainedContrastive(0.2), a, b, a_mask=a_mask, b_mask=b_mask)
    assert got == pytest.approx((rows + columns) / 2, rel=5e-6)


def test_secla_equals_loops():
    a, b, a_mask, b_mask = bags()
    f, n = scores(a, b, a_mask, b_mask), scores(b, a, b_mask, a_mask).T
    wanted = np.mean([cross_entropy(z / 0.3) for z in (f, f.T, n, n.T)]) + 0.7 * np.mean((f - n) ** 2)
    loss = FaceNameAlignment(0.3, agreement_weight=0.7)
    assert value_of(loss, a, b, faces_mask=a_mask, names_mask=b_mask) == pytest.approx(wanted, rel=5e-6)


@settings(max_examples=3, deadline=None)
@given(seed=st.integers(0, 1000))
def test_order_of_tokens_padding_and_length_are_irrelevant(seed):
    a, b, a_mask, b_mask = bags(seed=seed)
    order = np.random.default_rng(seed).permutation(4)
    noise = np.where(a_mask[:, :, None], a, 1e3 * random.normal(size=a.shape).astype("float32"))
    for loss, names in (
        (FineGrainedContrastive(), ("a_mask", "b_mask")),
        (FaceNameAlignment(0.1, 1.0), ("faces_mask", "names_mask")),
    ):
        wanted = pytest.approx(value_of(loss, a, b, **dict(zip(names, (a_mask, b_mask)))), rel=1e-4, abs=1e-5)
        assert value_of(loss, a[:, order], b, **dict(zip(names, (a_mask[:, order], b_mask)))) == wanted
        assert value_of(loss, noise, 3.0 * b, **dict(zip(names, (a_mask, b_mask)))) == wanted


def test_one_vector_each_is_info_nce():
    a, b, _, _ = bags(sizes=(1, 1))
    wanted = pytest.approx(value_of(InfoNCE(0.5), a[:, 0], b[:, 0]), rel=1e-5)
    assert value_of(FineGrainedContrastive(0.5), a, b) == wanted
    assert value_of(FineGrainedContrastive(), a, b, scale=np.float32(2.0)) == wanted
    assert value_of(FaceNameAlignment(0.5, agreement_weight=9.0), a, b) == wanted


@pytest.mark.parametrize(
    "loss, names",
    [(FineGrainedContrastive, ("a_mask", "b_mask")), (FaceNameAlignment, ("faces_mask", "names_mask"))],
)
def test_empty_bags_are_nobodys_candidates(loss, names):
    a, b, a_mask, b_mask = bags()
    a_mask[1] = b_mask[1] = False
    given = dict(zip(names, (a_mask, b_mask)))
    left = [0, 2]
    without = value_of(loss(0.2), a[left], b[left], **dict(zip(names, (a_mask[left], b_mask[left]))))
    got, gradients = value_and_gradients(lambda x, y: loss(0.2)(x, y, **given), [a, b])
    assert got == pytest.approx(2 / 3 * without, rel=1e-5)
    assert all(np.isfinite(gradient).all() for gradient in gradients) and not gradients[0][1].any()
    nothing = dict(zip(names, (0 * a_mask, 0 * b_mask)))
    got, gradients = value_and_gradients(lambda x, y: loss(1e-4)(x, y, **nothing), [a, b])
    assert got == 0.0 and all(np.isfinite(gradient).all() for gradient in gradients)


@pytest.mark.parametrize("loss", [FineGrainedContrastive(1e-4), FaceNameAlignment(1e-4, 1.0)])
def test_a_batch_of_one_has_no_negatives(loss):
    a, b, _, _ = bags(rows=1, sizes=(2, 2))
    got, gradients = value_and_gradients(loss, [a, a])
    assert got == pytest.approx(0.0, abs=1e-6) and all(np.isfinite(gradient).all() for gradient in gradients)
    assert value_of(loss, a, b, sample_weight=np.zeros(1, "float32")) == 0.0


def test_masks_are_read_by_name():
    a, b, a_mask, b_mask = bags()
    tensors = {"image_projected_tokens": a, "text_projected_tokens": b, "text_token_mask": b_mask, "kept": a_mask}
    loss = FineGrainedContrastive(0.2, a_mask="kept")
    total, _ = loss.from_tensors(tensors)
    with_class_token = np.concatenate([np.ones_like(a_mask[:, :1]), a_mask], axis=1)
    same, _ = loss.from_tensors(tensors | {"kept": with_class_token})
    assert float(numpy(same)) == float(numpy(total))
    assert float(numpy(total)) == pytest.approx(
        value_of(FineGrainedContrastive(0.2), a, b, a_mask=a_mask, b_mask=b_mask), rel=1e-6
    )


@pytest.mark.parametrize(
    "call, sentence",
    [
        (lambda a, b: FineGrainedContrastive(direction="up"), "direction 'up' is unknown"),
        (lambda a, b: FaceNameAlignment(-1.0), "give a positive number"),
        (lambda a, b: FineGrainedContrastive()(a[:, 0], b), r"takes a as \(batch, patches, dim\), but got \(3, 5\)"),
        (
            lambda a, b: FaceNameAlignment()(a, b[..., :2]),
            r"faces \(3, 4, 5\) and names \(3, 3, 2\); they must agree in dim",
        ),
        (
            lambda a, b: FineGrainedContrastive()(a, b, a_mask=np.ones((3, 3), "bool")),
            r"a_mask of shape \(3, 3\) for tokens of shape \(3, 4, 5\); name the mask",
        ),
    ],
)
def test_what_is_refused(call, sentence):
    with pytest.raises(ValueError, match=sentence):
        call(*bags()[:2])
