"""MaskedImageModelling: which patches count, and by how much."""

import numpy as np
import pytest
from shared_case import numpy, value_and_gradients

from kzoo.losses import MaskedImageModelling


def arrays(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype("float32")


def test_masked_patches_are_weighed_by_image():
    prediction, target = arrays(3, 2, 4), arrays(3, 2, 4, seed=1)
    mask, weight = np.array([[1, 0], [1, 1], [0, 1]], "int32"), np.array([2.0, 1.0, 0.0], "float32")
    error = np.mean((prediction - target) ** 2, axis=2)
    loss = MaskedImageModelling(normalize_targets=False)
    want = (2.0 * error[0, 0] + error[1].sum()) / 4.0
    assert float(numpy(loss(prediction, target, mask=mask, sample_weight=weight))) == pytest.approx(want, rel=1e-5)
    value, (gradient, _) = value_and_gradients(
        lambda p, t: loss(p, t, mask=np.zeros((3, 2), bool)), [prediction, target]
    )
    assert value == 0.0 and not gradient.any()
    flat = MaskedImageModelling()(prediction, np.ones_like(target), mask=mask)  # a patch of one colour has no contrast
    assert float(numpy(flat)) == pytest.approx(np.mean(prediction[mask.astype(bool)] ** 2), rel=1e-5)


def test_what_cannot_be_computed_is_refused():
    with pytest.raises(ValueError, match="they have only 1"):
        MaskedImageModelling()(arrays(2, 3, 1), arrays(2, 3, 1), mask=np.ones((2, 3)))
