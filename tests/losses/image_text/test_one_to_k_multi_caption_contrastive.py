"""Losses of several captions of an image: loops, masks, and the single one they come down to."""

import math
from functools import partial

import numpy as np
import pytest
from naive_softmax import embeddings, row_losses, value_of
from shared_case import value_and_gradients

from kzoo.losses import InfoNCE, MultiCaptionContrastive, OneToK

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


@pytest.mark.parametrize("loss", [OneToK, MultiCaptionContrastive])
def test_temperatures_of_the_models_head(loss):
    want = value_of(loss(0.25), A, TEXTS)
    assert value_of(loss(), A, TEXTS, scale=np.float32(4.0)) == pytest.approx(want, rel=1e-6)


def test_a_batch_of_one():
    assert value_of(OneToK(T), A[:1], A[:1, None].repeat(3, axis=1)) == pytest.approx(math.log(3) / 2, rel=1e-5)
    assert value_of(MultiCaptionContrastive(T), A[:1], TEXTS[:1]) == pytest.approx(0.0, abs=1e-6)


@pytest.mark.parametrize(
    "make, sentence",
    [
        (lambda: OneToK(normalization="sum"), "normalization 'sum' is unknown; choose one of mean, released"),
        (lambda: OneToK()(A, B), r"OneToK takes b as \(batch, K, dim\), but got"),
        (lambda: MultiCaptionContrastive()(A, B), r"MultiCaptionContrastive takes b as \(batch, K, dim\), but got"),
    ],
)
def test_bad_arguments(make, sentence):
    with pytest.raises(ValueError, match=sentence):
        make()
