"""MultiCropContrastive: all crops of both sides, their temperature, errors."""

import numpy as np
import pytest
from naive_softmax import embeddings, value_of

from kzoo.losses import InfoNCE, LearnableTemperature, MultiCropContrastive

T = 0.3
A, B = embeddings(6, 8)  # the shapes of the golden cases: JAX compiles each operation anew for others
TEXTS = embeddings(6, 3, 8, seed=1, count=1)[0]
WEIGHT = np.array([0.5, 1.0, 2.0, 0.0, 1.0, 3.0], "float32")


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


@pytest.mark.parametrize(
    "make, sentence",
    [
        (lambda: MultiCropContrastive()(A, B, TEXTS, TEXTS[:, :2]), "they must agree in n"),
        (lambda: MultiCropContrastive()(A, B, A, B), r"takes a_local as \(batch, n, width\), but got"),
    ],
)
def test_bad_arguments(make, sentence):
    with pytest.raises(ValueError, match=sentence):
        make()
