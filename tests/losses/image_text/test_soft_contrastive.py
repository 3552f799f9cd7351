"""SoftContrastive: targets from the names of labels, in small batches too."""

import math

import keras
import numpy as np
import pytest
from naive_softmax import log_sum
from shared_case import numpy, value_and_gradients

from kzoo.losses import SoftContrastive


def tensors(count, rows=5, dim=4, seed=0):
    return np.random.default_rng(seed).normal(size=(count, rows, dim)).astype("float32")


def value(result):
    return float(numpy(result))


def cosine(x, y):
    return float(x @ y / np.sqrt((x @ x) * (y @ y)))


def test_soft_targets_are_those_of_the_labels():
    a, b, labels = tensors(3)
    weight = np.array([1.0, 0.0, 2.0, 0.5, 1.0], "float32")
    values = []
    for left, right in ((a, b), (b, a)):
        for i in range(5):
            resemblance = [cosine(labels[i], label) / 0.35 for label in labels]
            target = [math.exp(r - log_sum(resemblance)) for r in resemblance]
            z = [cosine(left[i], other) / 0.1 for other in right]
            values.append(log_sum(z) - sum(t * v for t, v in zip(target, z)))
    values = np.array(values).reshape(2, 5)
    for symmetric, expected in ((True, values.mean(axis=0)), (False, values[0])):
        result = SoftContrastive(0.1, symmetric=symmetric)(a, b, label_embeddings=labels, sample_weight=weight)
        assert value(result) == pytest.approx(np.average(expected, weights=weight), rel=1e-5)


def test_targets_of_labels_have_no_gradient_and_may_all_be_equal():
    a, b, labels = tensors(3)
    labels[:] = labels[:1]

    def loss(a, labels):
        return SoftContrastive()(a, b, label_embeddings=labels) + 0.0 * keras.ops.sum(labels)

    result, gradients = value_and_gradients(loss, [a, labels])
    assert np.isfinite(result) and np.isfinite(gradients[0]).all() and not gradients[1].any()


@pytest.mark.parametrize("rows", [1, 2])
def test_small_batches_are_finite(rows):
    a, b, c = tensors(3, rows=rows)
    result, gradients = value_and_gradients(lambda a, b: SoftContrastive()(a, b, label_embeddings=c), [a, b])
    assert np.isfinite(result) and all(np.isfinite(gradient).all() for gradient in gradients)


def test_bad_arguments():
    with pytest.raises(ValueError, match="label_temperature is -1.0; give a positive number"):
        SoftContrastive(label_temperature=-1.0)
