"""AdversarialPairs with copies of the target, and in small batches."""

import numpy as np
import pytest
from naive_softmax import log_sum
from shared_case import numpy, value_and_gradients

from kzoo.losses import AdversarialPairs


def tensors(count, rows=5, dim=4, seed=0):
    return np.random.default_rng(seed).normal(size=(count, rows, dim)).astype("float32")


def value(result):
    return float(numpy(result))


def cosine(x, y):
    return float(x @ y / np.sqrt((x @ x) * (y @ y)))


def test_what_a_sentence_is_told_apart_from():
    assert AdversarialPairs().negatives(8) == 8


def test_adversarial_pairs_with_copies_of_the_target():
    source, target = tensors(2)
    z = np.array([[cosine(s, t) / 0.5 for t in target] for s in source])
    expected = np.mean([log_sum([*z[i], z[i, i]]) - z[i, i] for i in range(5)])
    result = AdversarialPairs(0.5)(source, target, imposter=target, distant=target)
    assert value(result) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("rows", [1, 2])
def test_small_batches_are_finite(rows):
    a, b, c = tensors(3, rows=rows)
    result, gradients = value_and_gradients(lambda a, b: AdversarialPairs(1e-3)(a, b, imposter=c, distant=c), [a, b])
    assert np.isfinite(result) and all(np.isfinite(gradient).all() for gradient in gradients)
