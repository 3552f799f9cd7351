"""BagOfWordsDecoding: words that are read, and texts that do not count."""

import math

import numpy as np
import pytest
from shared_case import numpy, value_and_gradients

from kzoo.losses import BagOfWordsDecoding

random = np.random.default_rng(0)
HIDDEN = random.normal(size=(3, 4, 5)).astype("float32")
MASK = np.array([[1, 1, 1, 1], [0, 1, 1, 0], [0, 0, 1, 0]], "bool")  # the last one has no pair


def value(result):
    return float(numpy(result))


def test_words_are_read_from_the_real_tokens():
    bag = np.array([[0.5, 0.5, 0, 0, 0], [0, 0, 1, 0, 0], [1, 0, 0, 0, 0]], "float32")
    values = []
    for z, mask, words in zip(HIDDEN, MASK, bag):
        v = z[mask].max(axis=0)
        values.append(sum(w * (math.log(np.exp(v).sum()) - each) for w, each in zip(words, v)))
    weight = np.array([1.0, 3.0, 2.0], "float32")
    loss = BagOfWordsDecoding()
    assert value(loss(HIDDEN, bag, mask=MASK)) == pytest.approx(np.mean(values), rel=1e-5)
    weighted = loss(HIDDEN, bag, mask=MASK, sample_weight=weight)
    assert value(weighted) == pytest.approx(np.average(values, weights=weight), rel=1e-5)


def test_texts_without_tokens_or_words_do_not_count():
    bag = np.array([[0.5, 0.5, 0, 0, 0], [0, 0, 1, 0, 0], [0, 0, 0, 0, 0]], "float32")
    mask = MASK.copy()
    mask[1] = False
    result, gradients = value_and_gradients(lambda z: BagOfWordsDecoding()(z, bag, mask=mask), [HIDDEN])
    assert result == pytest.approx(value(BagOfWordsDecoding()(HIDDEN[:1], bag[:1])), rel=1e-5)
    assert gradients[0][0].any() and not gradients[0][1:].any()
    nothing, (gradient,) = value_and_gradients(lambda z: BagOfWordsDecoding()(z, bag, mask=0 * MASK), [HIDDEN])
    assert nothing == 0.0 and np.isfinite(gradient).all()
