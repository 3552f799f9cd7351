"""CountingContrastive: one wrong caption for each image, and images that count nothing."""

import math

import numpy as np
import pytest
from naive_softmax import unit, value_of

from kzoo.losses import CountingContrastive, ImageGroundedContrast

ROWS, COUNT, DIM = 5, 3, 4
RANDOM = np.random.default_rng(0)
A, B = RANDOM.normal(size=(2, ROWS, DIM)).astype("float32")
NEGATIVES = RANDOM.normal(size=(ROWS, COUNT, DIM)).astype("float32")


def choice(x, candidates, scale):
    """Cross-entropy of the first of a list of candidates."""
    z = [scale * float(unit(x) @ unit(each)) for each in candidates]
    return math.log(sum(math.exp(each - z[0]) for each in z))


def test_counting_is_grounded_contrast_with_one_negative():
    wrong = NEGATIVES[:, 0]
    want = value_of(ImageGroundedContrast(1.0), A, B, negatives=NEGATIVES[:, :1])
    assert value_of(CountingContrastive(), A, B, counterfactual=wrong) == pytest.approx(want, rel=1e-6)
    assert value_of(CountingContrastive(), A, B, counterfactual=B) == pytest.approx(math.log(2.0), rel=1e-6)
    assert value_of(CountingContrastive(1e-3), A, A, counterfactual=-A) == 0.0
    assert value_of(CountingContrastive(1e-3), A, -A, counterfactual=A) == pytest.approx(2000.0, rel=1e-5)


def test_only_samples_that_count_something_count():
    wrong, mask = NEGATIVES[:, 0], np.array([True, False, True, False, False])
    want = np.mean([choice(A[i], [B[i], wrong[i]], 1.0) for i in np.flatnonzero(mask)])
    assert value_of(CountingContrastive(), A, B, counterfactual=wrong, mask=mask) == pytest.approx(want, rel=1e-6)
    assert value_of(CountingContrastive(), A, B, counterfactual=wrong, mask=np.zeros(ROWS, bool)) == 0.0


def test_bad_arguments():
    with pytest.raises(ValueError, match="temperature is -1.0; give a positive number"):
        CountingContrastive(-1.0)
