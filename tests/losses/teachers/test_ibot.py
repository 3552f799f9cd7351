"""IBOT: images without masks, and its centre."""

import numpy as np
import pytest
from shared_case import numpy, value_and_gradients

from kzoo.losses import IBOT


def arrays(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype("float32")


def softmax(x):
    e = np.exp(x - x.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


def test_ibot_counts_images_without_masks_as_0_and_centres_on_masked_patches():
    student, teacher = arrays(3, 2, 5), arrays(3, 2, 5, seed=1)
    mask = np.array([[1, 1], [0, 1], [0, 0]], "int32")
    loss = IBOT(dim=5, teacher_temperature=0.5)
    cross_entropy = -np.sum(softmax(teacher / 0.5) * np.log(softmax(student / 0.1)), axis=2)
    want = (cross_entropy[0].mean() + cross_entropy[1, 1]) / 3
    assert float(numpy(loss(student, teacher, mask=mask, training=True))) == pytest.approx(want, rel=1e-5)
    center = numpy(loss.center)
    np.testing.assert_allclose(center, 0.1 * teacher[mask.astype(bool)].mean(axis=0), rtol=1e-5, atol=1e-7)
    nothing = np.zeros((3, 2), bool)
    value, gradients = value_and_gradients(lambda s, t: loss(s, t, mask=nothing, training=True), [student, teacher])
    assert value == 0.0 and not np.any(gradients)
    np.testing.assert_allclose(numpy(loss.center), center, rtol=1e-6)


def test_what_cannot_be_computed_is_refused():
    with pytest.raises(ValueError, match=r"with IBOT\(mask=...\)"):
        IBOT(4).from_tensors(dict.fromkeys(IBOT.default_inputs, 0))
