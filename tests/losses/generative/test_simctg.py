"""SimCTG against a loop over pairs of tokens, at its ends, and in texts without a pair."""

import numpy as np
import pytest
from naive_softmax import unit
from shared_case import numpy, value_and_gradients

from kzoo.losses import SimCTG

random = np.random.default_rng(0)
HIDDEN = random.normal(size=(3, 4, 5)).astype("float32")
MASK = np.array([[1, 1, 1, 1], [0, 1, 1, 0], [0, 0, 1, 0]], "bool")  # the last one has no pair


def value(result):
    return float(numpy(result))


def test_contrast_of_tokens_equals_a_loop_over_pairs():
    total, count = 0.0, 0.0
    weight = np.array([1.0, 3.0, 2.0], "float32")
    for h, mask, w in zip(unit(HIDDEN), MASK, weight):
        for i in np.flatnonzero(mask):
            for j in np.flatnonzero(mask):
                if i != j:
                    total += w * max(0.0, 0.9 - 1.0 + h[i] @ h[j])
                    count += w
    result = SimCTG(margin=0.9)(HIDDEN, mask=MASK, sample_weight=weight)
    assert value(result) == pytest.approx(total / count, rel=1e-5)
    masked = np.where(MASK[:, :, None], HIDDEN, 7.0).astype("float32")
    assert value(SimCTG(0.9)(masked, mask=MASK)) == pytest.approx(value(SimCTG(0.9)(HIDDEN, mask=MASK)), rel=1e-6)


def test_contrast_of_tokens_at_its_ends():
    assert value(SimCTG(0.0)(HIDDEN)) == pytest.approx(0.0, abs=1e-6)
    assert value(SimCTG(0.5)(np.ones_like(HIDDEN))) == pytest.approx(0.5, rel=1e-5)


@pytest.mark.parametrize("hidden, mask", [(HIDDEN, 0 * MASK), (HIDDEN[:, :1], MASK[:, :1])], ids=["none", "one"])
def test_texts_without_a_pair_of_tokens_cost_nothing(hidden, mask):
    result, (gradient,) = value_and_gradients(lambda h: SimCTG()(h, mask=mask), [hidden])
    assert result == 0.0 and np.isfinite(gradient).all()


def test_bad_arguments():
    with pytest.raises(ValueError, match=r"margin is 3.0; give a number in \[0, 2\]"):
        SimCTG(margin=3.0)
