"""SubcaptionGrouping: the regions of captions, patches that are all alike, errors."""

import numpy as np
import pytest
from naive_softmax import embeddings, unit, value_of
from shared_case import value_and_gradients

from kzoo.losses import InfoNCE, SubcaptionGrouping

T = 0.3
B = embeddings(6, 8)[1]  # the shapes of the golden cases: JAX compiles each operation anew for others
TEXTS = embeddings(6, 3, 8, seed=1, count=1)[0]
WEIGHT = np.array([0.5, 1.0, 2.0, 0.0, 1.0, 3.0], "float32")


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


def test_temperatures_of_the_models_head():
    want = value_of(SubcaptionGrouping(temperature=0.25), PATCHES, CAPTIONS)
    assert value_of(SubcaptionGrouping(), PATCHES, CAPTIONS, scale=np.float32(4.0)) == pytest.approx(want, rel=1e-6)


@pytest.mark.parametrize(
    "make, sentence",
    [
        (lambda: SubcaptionGrouping(threshold=1.0), r"threshold is 1.0; give a number in \[0, 1\)"),
        (lambda: SubcaptionGrouping()(TEXTS, B), r"SubcaptionGrouping takes captions as \(batch, K, dim\), but got"),
        (lambda: SubcaptionGrouping()(TEXTS[:, :, :4], TEXTS), "they must agree in dim"),
    ],
)
def test_bad_arguments(make, sentence):
    with pytest.raises(ValueError, match=sentence):
        make()
