"""Losses of several captions, views or crops of a sample: loops, masks, and the single one they come down to."""

import math
from functools import partial

import numpy as np
import pytest
from naive_softmax import embeddings, row_losses, unit, value_of
from shared_case import value_and_gradients

from kzoo.losses import (
    InfoNCE,
    LearnableTemperature,
    MultiCaptionContrastive,
    MultiCropContrastive,
    NTXent,
    OneToK,
    SelfSupervisedContrastive,
    SubcaptionGrouping,
)

T = 0.3
A, B = embeddings(6, 8)  # the shapes of the golden cases: JAX compiles each operation anew for others
TEXTS = embeddings(6, 3, 8, seed=1, count=1)[0]
MASK = np.array([[1, 1, 0], [1, 0, 0], [0, 0, 0], [1, 1, 1], [0, 1, 0], [1, 1, 0]], bool)
WEIGHT = np.array([0.5, 1.0, 2.0, 0.0, 1.0, 3.0], "float32")
EYE = np.eye(6)


@pytest.mark.parametrize("normalization", ["mean", "released"])
@pytest.mark.parametrize("block_size", [None, 4])
def test_one_to_k_without_the_texts_that_are_missing(normalization, block_size):
    flat, real = TEXTS.reshape(18, 8), MASK.reshape(18)
    own = np.array([[c // 3 == i and real[c] for c in range(18)] for i in range(6)], float)
    i2t = row_losses(A, flat, T, own / np.maximum(own.sum(axis=1, keepdims=True), 1.0), np.tile(real, (6, 1)))
    t2i = row_losses(flat, A, T, own.T)
    weight = WEIGHT.repeat(3) * real
    want = np.average(i2t, weights=WEIGHT) / 2 + np.average(t2i, weights=weight) / (6 if normalization != "mean" else 2)
    loss = OneToK(T, normalization, block_size)
    assert value_of(loss, A, TEXTS, mask=MASK, sample_weight=WEIGHT) == pytest.approx(want, rel=1e-5)


@pytest.mark.parametrize("block_size", [None, 4])
def test_multi_caption_without_the_captions_that_are_missing(block_size):
    terms = []
    for k in range(3):
        keep = MASK[:, k, None] & MASK[None, :, k]
        rows, columns = (row_losses(x, y, T, EYE * keep, keep) for x, y in ((A, TEXTS[:, k]), (TEXTS[:, k], A)))
        weight = WEIGHT * MASK[:, k]
        terms.append(np.sum(weight * (rows + columns) / 2) / max(weight.sum(), 1e-12))
    loss = MultiCaptionContrastive(T, block_size)
    got = value_of(loss, A, TEXTS, mask=MASK, sample_weight=WEIGHT)
    assert got == pytest.approx(np.mean(terms), rel=1e-5)


@pytest.mark.parametrize("loss", [OneToK(T), MultiCaptionContrastive(T)], ids=lambda loss: loss.term)
def test_captions_in_any_order_and_one_alone(loss):
    order = [2, 0, 1]
    value = value_of(loss, A, TEXTS, mask=MASK)
    assert value_of(loss, A, TEXTS[:, order], mask=MASK[:, order]) == pytest.approx(value, rel=1e-5)
    assert value_of(loss, A, B[:, None, :]) == pytest.approx(value_of(InfoNCE(T), A, B), rel=1e-5)
    assert value_of(loss, A, TEXTS, mask=np.ones_like(MASK)) == pytest.approx(value_of(loss, A, TEXTS), rel=1e-6)


@pytest.mark.parametrize("loss", [OneToK(T), MultiCaptionContrastive(T)], ids=lambda loss: loss.term)
def test_no_caption_at_all(loss):
    value, gradients = value_and_gradients(partial(loss, mask=np.zeros_like(MASK)), [A, TEXTS])
    assert value == 0.0 and not any(gradient.any() for gradient in gradients)


@pytest.mark.parametrize("loss", [OneToK(T), MultiCaptionContrastive(T)], ids=lambda loss: loss.term)
def test_what_is_missing_may_hold_anything(loss):
    other = np.where(MASK[:, :, None], TEXTS, np.float32(7.0))
    assert value_of(loss, A, other, mask=MASK) == pytest.approx(value_of(loss, A, TEXTS, mask=MASK), rel=1e-6)


def regions(patches, captions, threshold):
    v, t = unit(patches), unit(captions)
    found = []
    for i in range(len(v)):
        for k in range(t.shape[1]):
            s = [float(t[i, k] @ p) for p in v[i]]
            w = [(x - min(s)) / (max(s) - min(s)) for x in s]
            w = [x if x >= threshold else 0.0 for x in w]
            found.append(sum(x / sum(w) * p for x, p in zip(w, v[i])))
    return np.array(found, "float32")


PATCHES = embeddings(4, 6, 8, seed=2, count=1)[0]
CAPTIONS = TEXTS[:4, :2]


@pytest.mark.parametrize("threshold", [None, 0.8])
def test_subcaptions_gather_their_patches(threshold):
    found = regions(PATCHES, CAPTIONS, 1 / 6 if threshold is None else threshold)
    weight = WEIGHT[:4]
    want = value_of(InfoNCE(T), found, CAPTIONS.reshape(8, 8), sample_weight=weight.repeat(2))
    loss = SubcaptionGrouping(threshold, T)
    for patches in (PATCHES, PATCHES[:, ::-1].copy()):
        assert value_of(loss, patches, CAPTIONS, sample_weight=weight) == pytest.approx(want, rel=1e-5)


def test_patches_that_are_all_alike_are_averaged():
    alike = PATCHES[:, :1].repeat(6, axis=1)
    want = value_of(InfoNCE(T), PATCHES[:, 0].repeat(2, axis=0), CAPTIONS.reshape(8, 8))
    value, gradients = value_and_gradients(SubcaptionGrouping(None, T), [alike, CAPTIONS])
    assert value == pytest.approx(want, rel=1e-5)
    assert all(np.isfinite(gradient).all() for gradient in gradients)
    assert value_of(SubcaptionGrouping(None, T), PATCHES[:, :1], CAPTIONS) == pytest.approx(want, rel=1e-5)


def test_slip_is_the_sum_of_its_parts():
    views = embeddings(6, 8, seed=3)
    loss = SelfSupervisedContrastive(T, 0.2, ssl_weight=0.5, block_size=4)
    want = value_of(InfoNCE(T), A, B, sample_weight=WEIGHT) + 0.5 * value_of(NTXent(0.2), *views, sample_weight=WEIGHT)
    assert value_of(loss, A, B, *views, sample_weight=WEIGHT) == pytest.approx(want, rel=1e-5)
    alone = value_of(SelfSupervisedContrastive(T, ssl_weight=0.0), A, B, *views)
    assert alone == pytest.approx(value_of(InfoNCE(T), A, B), rel=1e-6)
    assert loss.pairs(8) == (16, 16) and loss.negatives(8) == 7


def test_crops_are_compared_with_all_crops_of_the_other_side():
    crops = embeddings(6, 2, 8, seed=4)
    local = InfoNCE(0.2, label_smoothing=0.3)
    pairs = [value_of(local, crops[0][:, p], crops[1][:, q], sample_weight=WEIGHT) for p in range(2) for q in range(2)]
    want = (value_of(InfoNCE(T), A, B, sample_weight=WEIGHT) + 2 * np.mean(pairs)) / 3
    loss = MultiCropContrastive(T, 0.2, label_smoothing=0.3, block_size=4)
    assert value_of(loss, A, B, *crops, sample_weight=WEIGHT) == pytest.approx(want, rel=1e-5)
    none = np.zeros((6, 0, 8), "float32")
    assert value_of(loss, A, B, none, none) == pytest.approx(value_of(InfoNCE(T), A, B), rel=1e-6)


def test_the_crops_have_a_learned_temperature_of_their_own():
    assert len(MultiCropContrastive().trainable_variables) == 1
    assert len(MultiCropContrastive(LearnableTemperature(), 0.1).trainable_variables) == 1
    loss = MultiCropContrastive()
    crops = embeddings(6, 2, 8, seed=4)
    fixed = MultiCropContrastive(1 / 4, 0.07)
    got = value_of(loss, A, B, *crops, scale=np.float32(4.0))
    assert got == pytest.approx(value_of(fixed, A, B, *crops), rel=1e-5)


def test_temperatures_of_the_models_head():
    for loss, args in (
        (OneToK, (A, TEXTS)),
        (MultiCaptionContrastive, (A, TEXTS)),
        (SelfSupervisedContrastive, (A, B, B, A)),
    ):
        want = value_of(loss(0.25), *args)
        assert value_of(loss(), *args, scale=np.float32(4.0)) == pytest.approx(want, rel=1e-6)
    want = value_of(SubcaptionGrouping(temperature=0.25), PATCHES, CAPTIONS)
    assert value_of(SubcaptionGrouping(), PATCHES, CAPTIONS, scale=np.float32(4.0)) == pytest.approx(want, rel=1e-6)


@pytest.mark.filterwarnings("ignore:InfoNCE received a batch of one")
def test_a_batch_of_one():
    assert value_of(OneToK(T), A[:1], A[:1, None].repeat(3, axis=1)) == pytest.approx(math.log(3) / 2, rel=1e-5)
    assert value_of(MultiCaptionContrastive(T), A[:1], TEXTS[:1]) == pytest.approx(0.0, abs=1e-6)
    assert value_of(SelfSupervisedContrastive(T), A[:1], B[:1], A[:1], B[:1]) == pytest.approx(0.0, abs=1e-6)


@pytest.mark.parametrize(
    "make, sentence",
    [
        (lambda: OneToK(normalization="sum"), "normalization 'sum' is unknown; choose one of mean, released"),
        (lambda: SubcaptionGrouping(threshold=1.0), r"threshold is 1.0; give a number in \[0, 1\)"),
        (lambda: OneToK()(A, B), r"OneToK takes b as \(batch, K, dim\), but got"),
        (lambda: MultiCaptionContrastive()(A, B), r"MultiCaptionContrastive takes b as \(batch, K, dim\), but got"),
        (lambda: SubcaptionGrouping()(TEXTS, B), r"SubcaptionGrouping takes captions as \(batch, K, dim\), but got"),
        (lambda: SubcaptionGrouping()(TEXTS[:, :, :4], TEXTS), "they must agree in dim"),
        (lambda: MultiCropContrastive()(A, B, TEXTS, TEXTS[:, :2]), "they must agree in n"),
        (lambda: MultiCropContrastive()(A, B, A, B), r"takes a_local as \(batch, n, width\), but got"),
    ],
)
def test_bad_arguments(make, sentence):
    with pytest.raises(ValueError, match=sentence):
        make()
