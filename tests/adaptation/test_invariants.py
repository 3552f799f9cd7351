"""What an adaptation is where nothing has been learned: the model as it was, on each backend."""

import numpy as np
import pytest
from prompt_case import IMAGES, logits_of
from shared_case import numpy, spread, tiny_model

from kzoo.adaptation import AnisotropicScaling, CoOp, LoRA, add_adapter, interpolate, merge, unmerge
from kzoo.keras_contact import layers_within
from kzoo.layers.adapted import updates_of

NAMES = ["red", "blue"]


@pytest.fixture(scope="module")
def model():
    model = tiny_model(depth=1, vocabulary=False)
    model.preprocessor.adapt([f"a photo of a {name}." for name in NAMES])
    spread(model)
    return model


def test_a_context_of_a_text_is_the_zero_shot_classifier(model):
    wanted = model.logits(IMAGES, [f"a photo of a {name}." for name in NAMES])
    np.testing.assert_allclose(logits_of(CoOp(model, NAMES, init="a photo of a")), wanted, atol=1e-5)


def test_a_coefficient_of_nothing_is_the_base(model):
    other = tiny_model(depth=1)
    spread(other)
    for weight in other.image_encoder.weights:
        weight.assign(numpy(weight) + 0.1)
    rows = model.encode_image(IMAGES)
    assert np.abs(other.encode_image(IMAGES) - rows).max() > 1e-3
    scaling = AnisotropicScaling(model, [other])
    assert not scaling.coefficients.any()
    for same in (scaling.model(), interpolate(model, other, 0.0)):
        assert np.abs(same.encode_image(IMAGES) - rows).max() < 1e-6


@pytest.mark.parametrize("decomposed", [False, True])
def test_updates_of_nothing_are_none_and_merged_ones_the_same(decomposed):
    model = tiny_model(depth=1)
    spread(model)
    rows = model.encode_image(IMAGES)
    add_adapter(model, LoRA(rank=2, targets="image_encoder", decomposed=decomposed))
    assert np.abs(model.encode_image(IMAGES) - rows).max() < (1e-5 if decomposed else 1e-9)
    random = np.random.default_rng(0)
    for layer in layers_within(model):
        for update in updates_of(layer).values():
            update.b.assign(random.normal(0.0, 0.2, update.b.shape))
    beside = model.encode_image(IMAGES)
    assert np.abs(beside - rows).max() > 1e-2
    for change in (merge, unmerge):
        change(model)
        assert np.abs(model.encode_image(IMAGES) - beside).max() < 1e-5
